"""One gate run: build, mount, arm instruments, drive the workload, unmount."""
