#!/bin/bash
# wait SECONDS at most, then bring results
[ -d /tmp/res ] || exit 9
end=$(( $(date +%s) + $1 )); 
while [ $(date +%s) -lt $end ] && [ ! -f /tmp/res/DONE ]; do sleep 3; done
cat /tmp/res/driver.log; nvidia-smi --query-gpu=index,name,utilization.gpu,memory.used --format=csv,noheader
cd /tmp/res; mkdir -p $OUT; cp results.jsonl driver.log $OUT/ ; tar czf $OUT/logs.tgz *.log README.md BENCHMARKS.md 2>/dev/null; tar czf $OUT/pred.tgz pred; cp store.tgz $OUT/ 2>/dev/null; ls -la $OUT
