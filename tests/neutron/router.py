"""Does for one router what the installed release's L3 agent does on its node, with its own code.

    router.py '{"state_path": …, "router_id": …, "vrid": …, "interface": …, "address": …}' [FLAG…]

Writes the router's keepalived.conf below ha_confs and tells, in one JSON line, where it is, the primary VIP and
the command by which this release starts the state-change monitor. Flags:

    conntrackd   with ha_conntrackd_enabled
    spawn        starts the monitor too (found on PATH), and then tells for every line read from standard input
                 whether the liveness check finds it; at the end of the input it removes it as a deleted router's
"""

import json
import os
import sys
import types

import release

from neutron.agent.l3 import ha_router
from neutron.agent.linux import external_process
from neutron.agent.linux import keepalived

PASSWORD = "secret"
INSIDE = "qr-0b5e0c2e-1a"
OUTSIDE = "qg-7d1c94f3-5b"
ADDRESSES = [
    ("10.0.0.1/24", INSIDE, None),
    ("2001:db8:1::1/64", INSIDE, None),
    ("fe80::f816:3eff:fe00:1/64", INSIDE, "link"),
    ("198.51.100.7/24", OUTSIDE, None),
    ("2001:db8:2::7/64", OUTSIDE, None),
    ("198.51.100.23/32", OUTSIDE, None),
]
ROUTES = {
    "gateway_routes": [("0.0.0.0/0", "198.51.100.1", OUTSIDE), ("::/0", "2001:db8:2::1", OUTSIDE)],
    "extra_routes": [("10.9.0.0/16", "10.0.0.254", None)],
    "extra_subnets": [("203.0.113.0/24", None, OUTSIDE)],
}


def router(conf, wanted):
    """The router as the L3 agent holds it, with its HA port and everything that keepalived is to carry."""
    # The device's name is "ha-" and the beginning of the port's id, cut by the driver.
    port_id = wanted["interface"].removeprefix("ha-") + "00-4000-8000-000000000000"
    data = {"id": wanted["router_id"], "ha_vr_id": wanted["vrid"], "routes": []}
    driver = types.SimpleNamespace(DEV_NAME_LEN=len(wanted["interface"]))
    agent = types.SimpleNamespace(host="host")
    made = ha_router.HaRouter(agent, wanted["router_id"], data, conf, driver)
    made.ha_port = {
        "id": port_id,
        "fixed_ips": [{"ip_address": wanted["address"], "prefixlen": 18}],
        "subnets": [{"cidr": "169.254.192.0/18"}],
    }
    made._init_keepalived_manager(external_process.ProcessMonitor(conf, "router"))
    instance = made._get_keepalived_instance()
    # An address on an interface that is not there would keep keepalived in fault.
    for address, interface, scope in ADDRESSES if wanted.get("whole") else []:
        made._add_vip(address, interface, scope)
    for kind, routes in ROUTES.items() if wanted.get("whole") else []:
        setattr(instance.virtual_routes, kind, [keepalived.KeepalivedVirtualRoute(*route) for route in routes])
    return made


def main(wanted, *flags):
    wanted = json.loads(wanted)
    conf = release.configure(
        wanted["state_path"],
        external_pids=os.path.join(wanted["state_path"], "external", "pids"),
        ha_vrrp_auth_password=PASSWORD,
        ha_conntrackd_enabled="conntrackd" in flags,
    )
    made = router(conf, wanted)
    manager = made._get_state_change_monitor_process_manager()
    release.tell(
        conf=made.keepalived_manager._output_config_file(),
        interface=made.get_ha_device_name(),
        vip=made._get_primary_vip(),
        namespace=made.ha_namespace,
        command=manager.default_cmd_callback(manager.get_pid_file_name()),
        pid_file=manager.get_pid_file_name(),
    )
    if "spawn" not in flags:
        return
    monitors = made.keepalived_manager.process_monitor
    made.spawn_state_change_monitor(monitors)
    release.tell(spawned=True)
    for _ in sys.stdin:
        release.tell(active=manager.active, pid=manager.pid)
    made.destroy_state_change_monitor(monitors)
    release.tell(destroyed=not manager.active)


if __name__ == "__main__":
    main(*sys.argv[1:])
