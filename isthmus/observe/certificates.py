"""When the certificates that a process uses run out, so that somebody renews them before."""

from pathlib import Path

from cryptography import x509

from isthmus.config import Config


def files_of(config: Config) -> dict[str, str]:
    """The certificates that the options name, by what they are for."""
    own = config.cluster
    named = {
        "page": config.gateway.tls_cert_path,
        "links": own.link_cert_path,
        "links_authority": own.link_ca_path,
        "etcd": own.etcd_cert_path,
        "etcd_authority": own.etcd_ca_path,
    }
    return {what: path for what, path in named.items() if path is not None}


def end_of(path: Path) -> float:
    """Unix time at which a PEM file's certificates run out: of a chain, the first to do so. Raises OSError,
    ValueError."""
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)


def ends_of(config: Config) -> dict[str, float]:
    """When each runs out. One that cannot be read is left out: the process that needs it says so itself."""
    out: dict[str, float] = {}
    for what, path in files_of(config).items():
        try:
            out[what] = end_of(Path(config.folder) / path)
        except (OSError, ValueError):
            continue
    return out
