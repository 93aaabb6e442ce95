"""What the other scripts share: the installed Neutron release, set up as its L3 agent sets itself up.

Import it before anything of Neutron: a release that runs on eventlet patches the standard library first.
"""

import importlib.util
import json
import os
import sys
import threading
import warnings

warnings.simplefilter("ignore")

if importlib.util.find_spec("neutron.common.eventlet_utils") and importlib.util.find_spec("neutron.cmd.eventlet"):
    # Releases up to 26 do this in neutron.cmd.eventlet, before their L3 agent is imported.
    import neutron.cmd.eventlet  # noqa: F401

from neutron.common import config
from neutron.conf.agent import common as agent_conf
from neutron.conf.agent.l3 import config as l3_conf
from neutron.conf.agent.l3 import ha as ha_conf
from neutron import privileged
from oslo_config import cfg
from oslo_log import log as logging

_output = threading.Lock()


def tell(**fields):
    """Writes one JSON line to standard output, whole."""
    line = (json.dumps(fields) + "\n").encode()
    with _output:
        os.write(sys.stdout.fileno(), line)


def configure(state_path, debug=False, **overrides):
    """The L3 agent's options, at their defaults but for `state_path` and what is given; gives them.

    Root needs no helper, and what needs privileges is done in this process.
    """
    config.register_common_config_options()
    l3_conf.register_l3_agent_config_opts(l3_conf.OPTS, cfg.CONF)
    ha_conf.register_l3_agent_ha_opts(cfg.CONF)
    for register in [
        agent_conf.register_external_process_opts,
        agent_conf.register_interface_opts,
        agent_conf.register_process_monitor_opts,
        agent_conf.register_root_helper,
    ]:
        register(cfg.CONF)
    logging.register_options(cfg.CONF)
    cfg.CONF([], project="neutron", default_config_files=[], default_config_dirs=[])
    cfg.CONF.set_override("state_path", state_path)
    cfg.CONF.set_override("root_helper", "", group="AGENT")
    # Nothing is looked at or started again behind the tests' back.
    cfg.CONF.set_override("check_child_processes_interval", 0, group="AGENT")
    cfg.CONF.set_override("debug", debug)
    # Standard output is for what these scripts tell.
    cfg.CONF.set_override("use_stderr", True)
    for name, value in overrides.items():
        cfg.CONF.set_override(name, value)
    logging.setup(cfg.CONF, "neutron")
    privileged.default.set_client_mode(False)
    return cfg.CONF
