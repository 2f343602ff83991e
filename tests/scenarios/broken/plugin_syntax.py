LEVEL = "path"


class Policy
    pass
