//! The registry that an image is pulled from.

/// The registry of names that have none.
const DEFAULT: &str = "docker.io";

/// Returns the host of the registry of an image, with its port: the first part of the name if that looks like a host
/// (distribution `reference/normalize.go`, `splitDockerDomain`).
pub fn of_image(image: &str) -> &str {
    let Some((first, _)) = image.split_once('/') else { return DEFAULT };
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|it| it.is_ascii_uppercase());
    match first {
        "index.docker.io" => DEFAULT,
        host if is_host => host,
        _ => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_is_a_host_if_it_looks_like_one() {
        for (image, registry) in [
            ("busybox:1.36", "docker.io"),
            ("shop/web:1", "docker.io"),
            ("index.docker.io/shop/web", "docker.io"),
            ("docker.io/library/web", "docker.io"),
            ("registry.old:5000/web", "registry.old:5000"),
            ("old:5000/shop/web@sha256:00", "old:5000"),
            ("ghcr.io/shop/web", "ghcr.io"),
            ("localhost/web", "localhost"),
            ("", "docker.io"),
        ] {
            assert_eq!(of_image(image), registry, "{image}");
        }
    }
}
