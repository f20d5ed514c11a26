//! Records when the program was built: a machine whose clock is earlier makes no certificates.
//!
//! `SOURCE_DATE_EPOCH` is honoured, so that packages build reproducibly.

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let built = given.unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    });
    println!("cargo::rustc-env=RESEED_BUILT={built}");
}
