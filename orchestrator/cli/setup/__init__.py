"""What makes a project and looks after its computer: init, data, doctor, toolchain, gc."""
