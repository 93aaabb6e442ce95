"""Runs the installed release's own state-change server, as its L3 agent does.

    server.py STATE_PATH recorder|mixin

`recorder` puts an agent object behind the server that writes down each `enqueue_state_change`.
`mixin` puts Neutron's AgentMixin there, with its transition states, its delay and its BatchNotifier; what it
would tell neutron-server (`update_ha_routers_states`) is written down as well.
"""

import sys
import threading

import release

from neutron.agent.l3 import ha


class Recorder:
    """Stands in for the agent object behind the server."""

    def enqueue_state_change(self, router_id, state):
        release.tell(event="enqueued", router_id=router_id, state=state)


class Router:
    """A router as the L3 agent keeps it, as far as a transition touches it."""

    ex_gw_port = None
    ns_name = "none"

    def __init__(self, agent):
        self.agent = agent
        self.router = {}
        self.ha_state = "unknown"

    def enable_radvd(self):
        pass

    def disable_radvd(self):
        pass


class Routers(dict):
    """Knows every router that it is asked for."""

    def __init__(self, agent):
        super().__init__()
        self.agent = agent

    def __missing__(self, router_id):
        return self.setdefault(router_id, Router(self.agent))


class Server:
    """neutron-server's side of the RPC."""

    def update_ha_routers_states(self, context, states):
        release.tell(event="updated", states=states)


class Extensions:
    """No extension listens."""

    def ha_state_change(self, context, data):
        pass


class Base:
    """What AgentMixin expects of the class behind it."""

    def __init__(self, host):
        self.host = host

    def init_host(self):
        pass


class Agent(ha.AgentMixin, Base):
    """AgentMixin with the rest of the L3 agent stood in for."""

    def __init__(self, conf):
        self.conf = conf
        self.context = None
        self.use_ipv6 = False
        self.router_info = Routers(self)
        self.plugin_rpc = Server()
        self.l3_ext_manager = Extensions()
        super().__init__("host")

    def enqueue_state_change(self, router_id, state):
        release.tell(event="enqueued", router_id=router_id, state=state)
        super().enqueue_state_change(router_id, state)

    def _update_metadata_proxy(self, ri, router_id, state):
        """There is no namespace to run a proxy in."""


def main(state_path, kind):
    conf = release.configure(state_path)
    if kind == "mixin":
        agent = Agent(conf)
        # Its thread serves: since 27 from here on, before from the constructor on.
        if "init_host" in vars(ha.AgentMixin):
            agent.init_host()
        threading.Event().wait()
    server = ha.L3AgentKeepalivedStateChangeServer(Recorder(), conf)
    server.run()
    if hasattr(server, "wait"):
        server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
