from sim.dispatch.api import PolicyParams

NAME = "ecmp"
LEVEL = "path"


class Params(PolicyParams):
    pass


class Policy:
    pass
