//! Certificates, keys and kubeconfigs of a lab. One authority signs everything; it lives as long as the lab.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::plan::Plan;
use crate::{Error, NODE_NAME};

/// A client of the API server: file name, user, group.
const CLIENTS: &[(&str, &str, Option<&str>)] = &[
    ("admin", "lab-admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:node", Some("system:nodes")),
    ("proxy", "system:kube-proxy", None),
];

/// Writes `pki/` and the kubeconfigs into the lab's folder.
///
/// Files: `ca.{crt,key}`, `apiserver.{crt,key}`, `kubelet-server.{crt,key}`, `kubelet-client.{crt,key}` (the API server
/// towards kubelets), `service-account.{pub,key}`, `<client>.kubeconfig`, and `kubeconfig` beside `pki/` for people.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(plan: &Plan) -> Result<(), Error> {
    let folder = plan.file("pki");
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let authority = authority()?;
    public(&folder.join("ca.crt"), &authority.pem())?;
    secret(&folder.join("ca.key"), &authority.key().serialize_pem())?;

    let address = IpAddr::V4(plan.address());
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let service = IpAddr::V4(plan.service_address(1));
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let apiserver = server("kube-apiserver", &names, &[address, loopback, service])?;
    pair(&folder, "apiserver", apiserver, &authority)?;
    let kubelet = server("kubelet", &[NODE_NAME, "localhost"], &[address, loopback])?;
    pair(&folder, "kubelet-server", kubelet, &authority)?;
    pair(&folder, "kubelet-client", client("kube-apiserver", Some("system:masters"))?, &authority)?;

    let tokens = KeyPair::generate().map_err(certificate("service account tokens"))?;
    secret(&folder.join("service-account.key"), &tokens.serialize_pem())?;
    public(&folder.join("service-account.pub"), &tokens.public_key_pem())?;

    for (name, user, group) in CLIENTS {
        let (certificate, key) = sign(client(user, *group)?, user, &authority)?;
        let text = kubeconfig(plan, &authority.pem(), &certificate, &key);
        secret(&folder.join(format!("{name}.kubeconfig")), &text)?;
        if *name == "admin" {
            secret(&plan.kubeconfig(), &text)?;
        }
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("tradingbot-lab", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().map_err(certificate("the authority"))?;
    CertifiedIssuer::self_signed(params, key).map_err(certificate("the authority"))
}

fn server(name: &str, names: &[&str], addresses: &[IpAddr]) -> Result<CertificateParams, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(certificate(name))?;
    params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.distinguished_name = subject(name, None);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn client(user: &str, group: Option<&str>) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(user, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    subject
}

fn sign(
    params: CertificateParams,
    subject: &str,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(String, String), Error> {
    let key = KeyPair::generate().map_err(certificate(subject))?;
    let signed = params.signed_by(&key, authority).map_err(certificate(subject))?;
    Ok((signed.pem(), key.serialize_pem()))
}

fn pair(
    folder: &Path,
    name: &str,
    params: CertificateParams,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(), Error> {
    let (certificate, key) = sign(params, name, authority)?;
    public(&folder.join(format!("{name}.crt")), &certificate)?;
    secret(&folder.join(format!("{name}.key")), &key)
}

/// JSON is YAML, and needs no quoting rules for the PEM texts; the data fields are base64 of them.
fn kubeconfig(plan: &Plan, authority: &str, certificate: &str, key: &str) -> String {
    let data = |pem: &str| k8s_openapi::ByteString(pem.as_bytes().to_vec());
    let context = format!("lab-{}", plan.name);
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {
            "server": plan.url(), "certificate-authority-data": data(authority),
        }}],
        "users": [{"name": context, "user": {
            "client-certificate-data": data(certificate), "client-key-data": data(key),
        }}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": "default"}}],
    });
    serde_yaml::to_string(&value).unwrap_or_else(|_| value.to_string())
}

fn certificate(subject: &str) -> impl FnOnce(rcgen::Error) -> Error + '_ {
    move |source| Error::Certificate { subject: subject.into(), source }
}

fn public(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}

fn secret(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::file("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plan::Place;

    #[test]
    fn keys_are_private_and_the_kubeconfig_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let plan =
            Plan { name: "x".into(), index: 0, folder: folder.path().join("x"), place: Place::Namespace };
        write(&plan).unwrap();
        for entry in fs::read_dir(plan.file("pki")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let private = name.ends_with(".key") || name.ends_with(".kubeconfig");
            assert_eq!(mode & 0o077 == 0, private, "{name} has mode {mode:o}");
        }
        let config = kube::config::Kubeconfig::read_from(plan.kubeconfig()).unwrap();
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://10.213.0.2:6443"));
        assert!(cluster.certificate_authority_data.is_some());
    }
}
