//! Makes Cargo compile again after a new migration, which the compiler does not notice itself.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
