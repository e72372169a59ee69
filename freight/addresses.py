"""Which addresses of the network are this machine, and at which a server of others may be asked."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Nobody's API: who is led there shows or takes what belongs to the machine itself, or reaches no single server.
NEVER = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # unspecified: Linux takes it for this machine
        "100.100.100.200/32",  # metadata of Alibaba's machines
        "168.63.129.16/32",  # Azure's, for its own machines
        "169.254.0.0/16",  # link-local; at 169.254.169.254 a cloud gives tokens to its machines
        "192.0.0.0/24",  # protocols; metadata of Oracle's machines
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # unspecified, and IPv4 in a way that is no longer used; of them only ::1 is a server
        "2001::/32",  # IPv4 within IPv6, for which networks have no use any more: Teredo, 6to4
        "2002::/16",
        "fd00:ec2::254/128",  # metadata of Amazon's machines, and of Google's
        "fd20:ce::254/128",
        "fe80::/9",  # link-local, and site-local as it was before fc00::/7
        "ff00::/8",  # multicast
    )
]
PRIVATE = [
    ip_network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # for measurements within a network
        "64:ff9b:1::/48",  # translated within a network
        "::1/128",
        "fc00::/7",
    )
]
LOOPBACK = ip_address("::1")  # within ::/96
TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 as networks without it show it


def fault_of_address(address: str, *, is_private: bool) -> str | None:
    """Return why nobody is to be asked at an address; None if that may be.

    Args:
        address: as numbers, in the usual form.
        is_private: whether a private network and this machine are meant.
    """
    found = _unwrapped(ip_address(address.partition("%")[0]))
    if found != LOOPBACK and any(found in network for network in NEVER):
        return f"{address}, where no API is: it is link-local, of a cloud's own services, multicast or reserved"
    if not is_private and any(found in network for network in PRIVATE):
        return f"{address}, which is this machine or in a private network: if the API is there, say so by `private`"
    return None


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a host; a name counts as reached from elsewhere, but for one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that one of IPv6 stands for, if it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(address.packed[-4:])
    return address


def written_address(host: str) -> str | None:
    """Return the address that a host is written as, also where it hides in one number, octal or hexadecimal."""
    try:
        found = socket.getaddrinfo(host.rstrip(".").encode(), None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])
