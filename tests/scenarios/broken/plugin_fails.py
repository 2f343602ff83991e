LEVEL = "path"
limit = 1 / 0
