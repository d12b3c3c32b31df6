//! Compiles again after a new migration, which the compiler does not notice.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
