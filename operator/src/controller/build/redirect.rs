//! How the controllers of well-known IngressClasses are told to leave plain HTTP.

/// Class, and the annotations that its controllers understand. A class of another name gets none: its own annotations
/// can be given in the spec.
const CLASSES: [(&str, &[(&str, &str)]); 3] = [
    // ingress-nginx, and F5's controller of the same class name. Both redirect unasked once there is a certificate,
    // unless their configuration says otherwise.
    (
        "nginx",
        &[
            ("nginx.ingress.kubernetes.io/ssl-redirect", "true"),
            ("ingress.kubernetes.io/ssl-redirect", "true"),
        ],
    ),
    // Traefik redirects by its entry point or a Middleware, not by an annotation. These two keep the bot off plain
    // HTTP: it is answered there with 404.
    (
        "traefik",
        &[
            ("traefik.ingress.kubernetes.io/router.entrypoints", "websecure"),
            ("traefik.ingress.kubernetes.io/router.tls", "true"),
        ],
    ),
    // HAProxy Technologies' controller, and the community's of the same class name.
    ("haproxy", &[("haproxy.org/ssl-redirect", "true"), ("haproxy-ingress.github.io/ssl-redirect", "true")]),
];

/// The annotations for a class.
pub fn annotations(class: Option<&str>) -> &'static [(&'static str, &'static str)] {
    CLASSES.iter().find(|(name, _)| Some(*name) == class).map_or(&[], |(_, annotations)| annotations)
}
