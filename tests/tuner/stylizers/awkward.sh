#!/bin/sh
# A stylizer that misbehaves in the way that its first argument names.
# Further arguments: content, out, and a file for the way that needs one.
what=$1 content=$2 out=$3 other=$4
case $what in
good) cp "$content" "$out" ;;
prints) yes "much text" | head -c 100000000; exit 3 ;;
hangs) sleep 1000 ;;
huge) cp "$other" "$out" ;;
outside) echo mine > "$other"; cp "$content" "$out" ;;
forks) sleep 1000 & (setsid sleep 1000 &) ; cp "$content" "$out" ;;
nothing) exit 0 ;;
link) ln -s "$content" "$out" ;;
text) echo "no picture" > "$out" ;;
crash) kill -9 $$ ;;
worker) kill -9 $PPID ;;
esac
