//! A certificate that nobody issued.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate that its own key has signed, good for two days.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// Its file.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

impl SelfSigned {
    /// Makes `NAME.crt` and `NAME.key` in a folder, for one `DNS:HOST` or `IP:ADDRESS`.
    pub fn make(folder: &Path, name: &str, alternative: &str) -> Self {
        let pair =
            Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"])
            .args(["-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName={alternative}")])
            .args(["-keyout".as_ref(), pair.key.as_os_str(), "-out".as_ref(), pair.certificate.as_os_str()])
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        pair
    }
}
