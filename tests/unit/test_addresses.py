"""Servers of others are asked at addresses that may be, however those are written."""

import pytest

from freight.addresses import fault_of_address, written_address

NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
]
PRIVATE = [
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "64:ff9b::10.1.2.3",
    "64:ff9b:1::1",
    "fc00::1",
    "fd12:3456::1",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "192.169.0.1", "11.0.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", NEVER)
def test_the_services_of_a_machine_and_its_link_are_never_asked(address: str) -> None:
    for is_private in (False, True):
        assert "where no API is" in (fault_of_address(address, is_private=is_private) or "")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_network_is_asked_if_it_is_meant(address: str) -> None:
    assert "set `private`" in (fault_of_address(address, is_private=False) or "")
    assert fault_of_address(address, is_private=True) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_asked(address: str) -> None:
    assert fault_of_address(address, is_private=False) is None


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "0xa9.254.0251.0xfe",
        "169.254.43518",
        "169.254.169.254.",
    ],
)
def test_an_address_is_found_however_it_is_written(host: str) -> None:
    assert written_address(host) == "169.254.169.254"


@pytest.mark.parametrize("host", ["erp.example.org", "localhost", "", "a" * 300, "é", "1.2.3.4.5"])
def test_a_name_is_no_address(host: str) -> None:
    assert written_address(host) is None
