//! A new migration is a reason to compile again, which the compiler cannot see.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
