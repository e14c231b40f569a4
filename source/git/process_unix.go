//go:build unix

package git

import (
	"os/exec"
	"syscall"
)

// isolate gives git a session of its own: no terminal to ask a question on,
// and a process group that ends as a whole. Git is asked first, because one
// that is killed leaves its lock files behind.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// killRest ends what git left running.
func killRest(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // most often there is nothing left
	}
}
