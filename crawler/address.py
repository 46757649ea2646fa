"""Which addresses are public: where a link of a stranger's page may lead. Pure rules.

Sources: IANA's registries of special-purpose addresses (RFC 6890 and those it lists), RFC 6598
(carrier-grade NAT), RFC 6052 (NAT64). Spelled out, because what Python's `ipaddress` calls global
changed between 3.11 and 3.13.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # on Linux another name of this machine
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata, too
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's metadata, though the address is a public one
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",
        ),
    )
)
_PUBLIC_6 = ip_network("2000::/3")  # all that is given out as global unicast
_NOT_PUBLIC_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments; Teredo, which holds an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4, the same
            "3fff::/20",
        ),
    )
)
_HOLDS_IPV4 = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether a numeric address, as a socket has it, belongs to the public internet."""
    number = ip_address(address)
    if isinstance(number, IPv4Address):
        return not any(number in network for network in _NOT_PUBLIC_4)
    number = IPv6Address(int(number))  # without a scope such as %eth0
    if any(number in network for network in _HOLDS_IPV4):
        return is_public(str(IPv4Address(int(number) & 0xFFFFFFFF)))
    return number in _PUBLIC_6 and not any(number in network for network in _NOT_PUBLIC_6)


def names_private(host: str) -> bool:
    """Whether a host, as a URL has it, is a private address without anybody being asked for it.

    That is a number, also one such as `127.1`, `0x7f000001` or `2130706433`, which are loopback
    where names are looked up; or `localhost` and what is below it (RFC 6761, 6.3).
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = name.partition("%")[0]
    try:
        with suppress(OSError):  # it is a name, or a number of IPv6
            address = socket.inet_ntoa(socket.inet_aton(name))
        return not is_public(address)
    except ValueError:
        return False
