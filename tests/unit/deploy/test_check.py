"""A topology that cannot be meant is refused with words that say what is wrong."""

from __future__ import annotations

import re

import pytest

from satchel.deploy.check import differences_of, problems_of
from satchel.deploy.parse import parse
from satchel.deploy.render import render
from satchel.deploy.topology import Topology
from satchel.errors import TopologyInvalid


@pytest.mark.parametrize(
    ("wrong", "words", "hint"),
    [
        ("[ports]\ndatabse = 5432", "ports.databse", "'database'"),
        ("[hosts.sync3]\nadress = '10.77.2.13'\nsubnet = 'services'", "hosts.sync3.adress", "'address'"),
        ("[balancr]\nsilence_seconds = 60", "balancr", "'balancer'"),
        ("[[allow]]\norigin = 'sync'\ntarget = 'sync'\nport = 70000\nwhy = 'no reason'", "<= 65535", "topology.md"),
        ("[hosts.x1]\naddress = '10.77.2.13'\nsubnet = 'services'\nroles = ['cook']", "'cook'", "topology.md"),
        ("[[allow]]\norigin = 'sync'\ntarget = 'lb1'\nport = 1\nwhy = 'quote\" and more'", "allow", "topology.md"),
        ("this is no TOML", "not valid TOML", "deploy check"),
    ],
)  # fmt: skip
def test_unknown_keys_and_impossible_values_are_named(text: str, wrong: str, words: str, hint: str) -> None:
    with pytest.raises(TopologyInvalid) as refused:
        parse(f"{text}\n{wrong}\n")
    said = f"{refused.value.message} {refused.value.hint}"
    assert hint in refused.value.hint
    assert words in said or words.strip("'") in said


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"10.77.2.12"', '"10.77.2.11"', "hosts sync1, sync2: they share the address 10.77.2.11."),
        ('"10.77.2.12"', '"10.77.3.99"', "hosts.sync2: 10.77.3.99 is not in services, 10.77.2.0/24."),
        ('"10.77.2.12"', '"10.77.2.255"', "hosts.sync2: 10.77.2.255 is services's own address."),
        ('"10.77.2.12"', '"somewhere"', "hosts.sync2: 'somewhere' is no address."),
        ('data = "10.77.3.0/24"', 'data = "10.77.2.128/25"', "overlaps with data"),
        ('data = "10.77.3.0/24"', 'data = "10.78.3.0/24"', "subnets.data: 10.78.3.0/24 is not in 10.77.0.0/16."),
        ('data = "10.77.3.0/24"', 'data = "10.77.3.1/24"', "is no address block"),
        ('roles = ["balancer"]', 'roles = ["dns"]', "No host has the role 'balancer'."),
        ('control = "db1"', 'control = "sync1"', "'sync1' is no host with the role 'database'"),
        ("[hosts.sync2]", "[hosts.Sync_2]", "a host's name has letters"),
        ("[hosts.sync2]", "[hosts.sync]", "that name is taken"),
        ('"field.example"', '"field example"', "is no domain"),
        ('issuer = "https://id1.', 'issuer = "https://id2.', "id2.field.example is none of the hosts"),
        ('issuer = "https://id1.', 'issuer = "http://id1.', "is no https address"),
        ('issuer = "https://id1.field.example/', 'issuer = "https://id1.field.example:444/', "is not ports.identity"),
        ('roles = ["identity"]', 'roles = ["objects"]', "id1.field.example is no host of this topology"),
        ("[databases]", "[settings.sync]\nrow_per_line = 5\n[databases]", "settings.sync.row_per_line"),
        ("[databases]", "[settings.secrets]\nkey = 'x'\n[databases]", "a secret does not belong"),
        ('["198.51.100.10"]', '["contoso"]', "'contoso' is no address or block"),
        ('url = "s3://satchel/objects"', "", "sync1, sync2, worker1, worker2 would keep objects in a folder each"),
        ("[databases]", "[[allow]]\norigin='mars'\ntarget='db1'\nport=1\nwhy='far'\n[databases]", "'mars' is no host"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, old: str, new: str, problem: str) -> None:
    changed = parse(text.replace(old, new, 1))
    found = problems_of(changed)
    assert any(problem in one for one in found), found


def test_two_listeners_on_one_port_are_found(text: str) -> None:
    changed = parse(text.replace('roles = ["balancer"]', 'roles = ["balancer", "sync"]') + "[ports]\nsync = 8443\n")
    assert problems_of(changed) == ["hosts.lb1: 2 of its roles listen on tcp port 8443."]


def test_the_example_is_right(topology: Topology) -> None:
    assert problems_of(topology) == []
    assert differences_of(topology, render(topology, "x")) == []


def test_a_folder_is_enough_on_one_host_and_where_the_settings_name_a_common_one(text: str) -> None:
    storage = '[objects]\nurl = "s3://satchel/objects"\n'
    common = text.replace(storage, '[settings.storage]\nurl = "file:///srv/objects"\n')
    assert problems_of(parse(common)) == []
    one = text.replace(storage, "")
    for name in ("sync2", "worker1", "worker2"):
        one = re.sub(rf"\[hosts\.{name}\]\n(.+\n)+\n", "", one)
    assert problems_of(parse(one.replace('roles = ["sync"]', 'roles = ["sync", "worker"]'))) == []


def test_a_flow_without_a_rule_and_a_rule_without_a_flow_are_found(topology: Topology) -> None:
    files = render(topology, "x")
    path = "hosts/db1/etc/nftables.conf"
    assert "10.77.2.11" in files[path]
    files[path] = files[path].replace("10.77.2.11 tcp", "203.0.113.7 tcp")
    assert differences_of(topology, files) == [
        "db1: the flow from 10.77.2.11, tcp port 5432, has no rule.",
        "db1: the rule from 203.0.113.7, tcp port 5432, stands for no flow.",
    ]
