"""Which addresses are public."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.address import is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "192.169.0.1", "100.128.0.1"]
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
PUBLIC_6 = ["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"]
PRIVATE_6 = [
    "::",
    "::1",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::1",
    "64:ff9b:1::1",
    "4000::1",
]


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_6)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE + PRIVATE_6)
def test_t1_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"])
def test_t1_an_ipv4_address_inside_of_one_of_ipv6_is_what_counts(prefix: str) -> None:
    assert all(is_public(prefix + address) for address in PUBLIC)
    assert not any(is_public(prefix + address) for address in PRIVATE)


@given(st.ip_addresses())
def test_what_python_calls_private_is_not_public(address: object) -> None:
    number = ip_address(str(address))
    assert not (is_public(str(number)) and (number.is_private or number.is_multicast))
