// The clinkd command runs the sites of a topology and keeps them at what its
// source says. See package clink/cmd/clinkd/command.
package main

import (
	"os"

	"clink/cmd/clinkd/command"
)

func main() {
	c := command.Command{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	os.Exit(c.Main(os.Args[1:]))
}
