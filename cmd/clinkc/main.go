// The clinkc command checks the source of a topology and builds from it. See
// package clink/cmd/clinkc/command.
package main

import (
	"os"

	"clink/cmd/clinkc/command"
)

func main() {
	c := command.Command{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	os.Exit(c.Main(os.Args[1:]))
}
