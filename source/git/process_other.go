//go:build !unix

package git

import "os/exec"

// isolate leaves cmd as it is: there are no process groups here.
func isolate(*exec.Cmd) {}

func killRest(*exec.Cmd) {}
