"""Network addresses: which ones are this machine, and which ones a client may call."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# No API is here: a request would reach the machine's own services or those of its cloud, or no single server.
NEVER = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # unspecified: Linux treats it as this machine
        "100.100.100.200/32",  # metadata service of Alibaba
        "168.63.129.16/32",  # Azure's service for its machines
        "169.254.0.0/16",  # link-local; at 169.254.169.254 clouds issue tokens to their machines
        "192.0.0.0/24",  # protocol assignments; metadata service of Oracle
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # unspecified, and a deprecated form of IPv4; only ::1 in it is a server
        "2001::/32",  # obsolete tunnels of IPv4 in IPv6: Teredo, 6to4
        "2002::/16",
        "fd00:ec2::254/128",  # metadata services of Amazon and Google
        "fd20:ce::254/128",
        "fe80::/9",  # link-local, and site-local, the predecessor of fc00::/7
        "ff00::/8",  # multicast
    )
]
PRIVATE = [
    ip_network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks within a network
        "64:ff9b:1::/48",  # local translation between IPv4 and IPv6
        "::1/128",
        "fc00::/7",
    )
]
LOOPBACK = ip_address("::1")  # within ::/96
TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 addresses as IPv6-only networks show them


def fault_of_address(address: str, *, is_private: bool) -> str | None:
    """Return why a client must not call an address; None if it may.

    Args:
        address: The address in the usual numeric form.
        is_private: True if private networks and this machine are allowed.
    """
    found = _unwrapped(ip_address(address.partition("%")[0]))
    if found != LOOPBACK and any(found in network for network in NEVER):
        return f"{address}, where no API is: it is link-local, a cloud's own service, multicast or reserved"
    if not is_private and any(found in network for network in PRIVATE):
        return f"{address}, which is this machine or in a private network: if the API is there, set `private`"
    return None


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a host; of all names only `localhost` counts."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address embeds, else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(address.packed[-4:])
    return address


def written_address(host: str) -> str | None:
    """Return the address if a host is written as one, even as a single, octal or hexadecimal number; else None."""
    try:
        found = socket.getaddrinfo(host.rstrip(".").encode(), None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])
