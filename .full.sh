#!/bin/bash
cd /tmp/h-bench
ALONE=1 ROUNDS=7 TURNS=12 PART=speed timeout 2400 make bench > .speed.out 2>&1 </dev/null; echo "rc $?" >> .speed.out
