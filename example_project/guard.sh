# Run a command that must not outlive its parent: sh guard.sh FOLDER COMMAND [ARGUMENT...]
#
# Standard input is a pipe that only the parent holds. A line on it names a signal for the
# command; end of file means that the parent is gone, and kills the command. FOLDER, unless it is
# empty, is made first and removed last. Exits as the command did.

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

# Again after a second: a neighbour that is ending at this moment may still have written into it.
[ -z "$folder" ] || rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
exit "$status"
