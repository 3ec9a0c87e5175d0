"""The commands: functions of the keys and the arguments, by the names of the commands."""
