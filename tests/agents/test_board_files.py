"""What the agent reads of and leaves on a board: sensors, leftovers, the bounded cache."""

import os
import time

import pytest

from orchestrator.agents import runtimes
from orchestrator.agents.host import processes
from orchestrator.agents.measurement.telemetry import Telemetry, drivers
from orchestrator.agents.storage import cleanup


def write(root, path, text):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@pytest.fixture
def board(tmp_path):
    """Sysfs and procfs of a warm board with two zones, a slowed processor and an INA3221."""
    thermal = "sys/class/thermal"
    write(tmp_path, f"{thermal}/thermal_zone0/temp", "71500\n")
    write(tmp_path, f"{thermal}/thermal_zone0/type", "cpu-thermal\n")
    write(tmp_path, f"{thermal}/thermal_zone1/temp", "-256000\n")  # a sensor that is off
    write(tmp_path, f"{thermal}/thermal_zone1/type", "pmic\n")
    write(tmp_path, f"{thermal}/cooling_device0/type", "thermal-cpufreq-0\n")
    write(tmp_path, f"{thermal}/cooling_device0/cur_state", "3\n")
    write(tmp_path, f"{thermal}/cooling_device1/type", "pwm-fan\n")
    write(tmp_path, f"{thermal}/cooling_device1/cur_state", "2\n")
    cpu = "sys/devices/system/cpu/cpu0/cpufreq"
    write(tmp_path, f"{cpu}/scaling_cur_freq", "1416000\n")
    write(tmp_path, f"{cpu}/scaling_governor", "schedutil\n")
    write(tmp_path, f"{cpu}/scaling_max_freq", "1416000\n")
    write(tmp_path, f"{cpu}/cpuinfo_max_freq", "1908000\n")
    throttle = "sys/devices/system/cpu/cpu0/thermal_throttle"
    write(tmp_path, f"{throttle}/core_throttle_count", "12\n")
    write(tmp_path, "sys/class/devfreq/17000000.gv11b/cur_freq", "1109250000\n")
    write(tmp_path, "sys/kernel/debug/clk/npu_core/clk_rate", "800000000\n")
    rail = "sys/class/hwmon/hwmon3"
    write(tmp_path, f"{rail}/name", "ina3221\n")
    write(tmp_path, f"{rail}/in1_input", "5000\n")
    write(tmp_path, f"{rail}/in1_label", "VDD_IN\n")
    write(tmp_path, f"{rail}/curr1_input", "800\n")
    # What follows the three channels are shunts: not the voltage of a rail, and their sum.
    write(tmp_path, f"{rail}/in4_input", "40\n")
    write(tmp_path, f"{rail}/curr4_input", "900\n")
    write(tmp_path, "sys/class/hwmon/hwmon4/name", "soctherm_oc\n")
    write(tmp_path, "sys/class/hwmon/hwmon4/oc3_event_cnt", "5\n")
    iio = "sys/bus/i2c/drivers/ina3221x/7-0040/iio:device0"
    write(tmp_path, f"{iio}/in_power0_input", "4100\n")
    write(tmp_path, f"{iio}/rail_name_0", "POM_5V_GPU\n")
    write(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "2500000\n")
    write(tmp_path, "sys/class/powercap/intel-rapl:0/name", "package-0\n")
    write(tmp_path, "proc/meminfo", "MemTotal: 512000 kB\nMemAvailable:  100000 kB\n")
    write(tmp_path, "proc/loadavg", "0.50 0.40 0.30 1/100 1234\n")
    # user nice system idle iowait irq softirq steal guest
    write(tmp_path, "proc/stat", "cpu  1000 0 300 90000 500 10 20 70 5 0\ncpu0 1 2 3\n")
    write(tmp_path, "sys/module/galcore/version", "6.4.8.7.1.1.1\n")
    write(tmp_path, "etc/nv_tegra_release", "# R32 (release), REVISION: 7.1\n")
    return tmp_path


def test_sensors(board):
    assert Telemetry(str(board)).sample() == {
        "temperatures_c": {"cpu-thermal": 71.5},
        "temperature_c": 71.5,
        "clocks_mhz": {"cpu0": 1416.0, "17000000.gv11b": 1109.25},
        "clock_mhz": 1416.0,
        "limits_mhz": {"cpu0": 1416.0},
        "highest_mhz": {"cpu0": 1908.0},
        "governors": {"cpu0": "schedutil"},
        "cooling_devices": 1,
        "throttling": {"thermal-cpufreq-0 (cooling_device0)": 3},
        "throttle_events": {"core_throttle_count": 12, "oc3_event_cnt": 5},
        "power_w": {"VDD_IN": 4.0, "POM_5V_GPU": 4.1},
        "energy_j": {"package-0 (intel-rapl:0)": 2.5},
        "memory_available_bytes": 100000 * 1024,
        "load_1m": 0.5,
    }
    assert Telemetry(str(board)).busy_s() == 1400 / os.sysconf("SC_CLK_TCK")


def test_what_a_kind_of_board_adds(board):
    write(board, "sys/class/thermal/thermal_zone2/temp", "55000\n")
    write(board, "sys/class/thermal/thermal_zone2/type", "npu-thermal\n")
    clocks = ["/sys/kernel/debug/clk/*npu*/clk_rate"]
    told = Telemetry(str(board), ["npu*", "gpu*"], clocks).sample()
    assert told["temperature_c"] == 55.0
    assert told["temperatures_c"]["cpu-thermal"] == 71.5
    assert told["clocks_mhz"]["npu_core"] == 800.0
    assert Telemetry(str(board), ["tpu*"]).sample()["temperature_c"] == 71.5


def test_drivers(board):
    assert drivers(str(board)) == {
        "galcore": "6.4.8.7.1.1.1",
        "l4t": "32.7.1",
    }
    assert drivers(str(board / "nowhere")) == {}


def test_a_board_that_tells_nothing(tmp_path):
    assert Telemetry(str(tmp_path)).sample() == {}


def make(folder, name, size=1, age=0.0):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_leftovers_go_and_work_stays(tmp_path):
    artifacts = tmp_path / "artifacts"
    kept = make(artifacts, "a.onnx")
    make(artifacts, "b.onnx.part")
    fresh = make(tmp_path, "agent-1.pyz.part")
    make(tmp_path, "agent-0.pyz.part", age=3600)
    make(tmp_path, "agent-9.pyz.part", age=-3600)  # the calendar went back since
    make(tmp_path / "tmp", "face.raw")
    own = make(tmp_path, "agent-own.pyz", age=9000)
    recent = [make(tmp_path, f"agent-{n}.pyz", age=n) for n in (10, 20)]
    make(tmp_path, "agent-30.pyz", age=30)
    gone = cleanup.clean(str(tmp_path), str(own))
    left = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted([kept, fresh, own, *recent])
    assert "b.onnx.part" in gone


def test_the_cache_is_bounded_oldest_out(tmp_path):
    artifacts = tmp_path / "artifacts"
    old, new = make(artifacts, "old", 600, age=100), make(artifacts, "new", 600, age=1)
    cleanup.clean(str(tmp_path), "", cache_bytes=1000)
    assert new.exists()
    assert not old.exists()


def test_wipe_leaves_only_the_lock(tmp_path):
    make(tmp_path / "artifacts", "a.onnx")
    make(tmp_path / "images", "a" * 64)
    make(tmp_path, "agent-1.pyz")
    make(tmp_path, "board.lock")
    cleanup.wipe(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["board.lock"]


def test_a_recycled_pid_is_not_killed():
    start = processes.start_time(os.getpid())
    assert start > 0
    assert processes.alive(os.getpid(), start)
    assert not processes.alive(os.getpid(), start - 1)
    assert processes.kill(os.getpid(), start - 1)  # nothing to do, and we are still here


def test_runtimes_are_found_without_loading_them():
    import subprocess
    import sys

    code = (
        "import sys; from orchestrator.agents import runtimes; found = runtimes.available();"
        "assert 'onnxruntime' not in sys.modules and 'numpy' not in sys.modules;"
        "print(found['onnxruntime']['version'])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import onnxruntime

    assert told.stdout.strip() == onnxruntime.__version__
    assert set(runtimes.names()) >= {"onnxruntime", "timed"}
