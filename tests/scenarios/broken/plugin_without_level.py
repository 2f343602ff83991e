from sim.dispatch.api import PolicyParams


class Params(PolicyParams):
    pass
