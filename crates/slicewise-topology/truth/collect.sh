#!/bin/sh
# runs in the guest; prints to ttyS1
opt() { for w in $(cat /proc/cmdline); do case $w in topo.$1=*) echo ${w#*=};; esac; done; }
for c in $(opt offline | tr , ' '); do echo 0 > /sys/devices/system/cpu/cpu$c/online; done
p=$(opt partition)
if [ -n "$p" ]; then
  mount -t cgroup2 c /cg
  echo +cpuset > /cg/cgroup.subtree_control
  mkdir /cg/part; echo ${p#*:} > /cg/part/cpuset.cpus; echo ${p%%:*} > /cg/part/cpuset.cpus.partition
fi
sleep 1
exec > /dev/ttyS1
echo "@@SYS"
cd /sys/devices/system
for f in cpu/online cpu/offline cpu/possible cpu/present cpu/isolated cpu/nohz_full cpu/kernel_max cpu/smt/active cpu/smt/control node/online node/possible node/has_cpu node/has_memory node/has_normal_memory; do [ -f $f ] && { v=$(cat $f); echo "$f:$v"; }; done
for d in cpu/cpu[0-9]*; do
  find $d/ -maxdepth 3 -type f \( -path '*/topology/*' -o -path '*/cache/index*/*' -o -name cpu_capacity -o -name online -o -path '*/acpi_cppc/highest_perf' \) | sort | while read f; do v=$(head -n1 $f 2>/dev/null); echo "$f:$v"; done
done
for d in node/node[0-9]*; do
  for f in cpulist cpumap distance; do v=$(cat $d/$f); echo "$d/$f:$v"; done
  v=$(head -n1 $d/meminfo); echo "$d/meminfo:$v"
  for a in $d/access*; do [ -d $a ] && grep -r "" $a/initiators/ 2>/dev/null; done
done
echo "@@DOM"
cd /sys/kernel/debug/sched/domains
for c in cpu*; do for d in $c/domain*; do [ -d $d ] || continue; for f in $(ls $d); do v=$(cat $d/$f); echo "$d/$f:$v"; done; done; done
echo "@@STAT"
grep -E '^(version|cpu|domain)' /proc/schedstat | awk '/^version/{print} /^cpu/{print $1} /^domain/{print $1,$2,$3}'
echo "@@KNOBS"
cd /sys/kernel/debug/sched
for f in base_slice_ns latency_ns min_granularity_ns wakeup_granularity_ns migration_cost_ns nr_migrate tunable_scaling features numa_balancing/hot_threshold_ms numa_balancing/scan_delay_ms; do [ -f $f ] && { v=$(cat $f); echo "$f:$v"; }; done
echo "@@LSCPU"
echo "@@DMESG"
dmesg | grep -vE 'audit|random:'
echo "@@END"
