"""The scheduling core: a pure state machine. `Scheduler.handle(event, now)` gives instructions.

It has no thread, no clock and no file: the driver and the simulator are shells that carry out its
instructions, each on a clock of its own, and tell it what came of them.

| file | what it decides |
|---|---|
| states.py | what a step and a board can be, and every legal transition |
| steps.py, ready.py, underway.py | the steps: their records, which are ready, which run |
| boards.py | when a board is connected, recovered, or out of the run |
| failures.py | what a failed step does next |
| choosing.py, pools.py | which ready steps start now, and on which board of their pool |
| invalidation.py | which finished steps run again because the store lost their output |
| waiting.py | why a connected board does nothing, as data |
| messages.py | the events that go in and the instructions that come out |
| scheduler.py | all of them together |
"""
