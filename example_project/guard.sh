# Run a command that must not outlive its parent: sh guard.sh FOLDER COMMAND [ARGUMENT...]
#
# Standard input is a pipe that only the parent holds. A line on it names a signal for the command.
# End of file means that the parent is gone, and kills the command. FOLDER is made first and removed
# last, unless it is empty. The exit code is the command's.

folder=$1
shift
[ -z "$folder" ] || mkdir -m 700 "$folder" || exit

exec 3<&0
"$@" </dev/null 3<&- &
command=$!
{
    while read -r signal; do kill -s "$signal" "$command"; done
    kill -s KILL "$command"
} <&3 2>/dev/null &
listener=$!

wait "$command"
status=$?
kill -s KILL "$listener"
wait "$listener" 2>/dev/null

# Try again after a second: another process that is ending may still have written into it.
[ -z "$folder" ] || rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
exit "$status"
