"""A Redis in the memory of this process, for tests. It runs the same Lua scripts as a real one."""
