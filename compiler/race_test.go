//go:build race

package compiler_test

// many squared takes a second or some to count: long enough to be given up on.
const many = "500"
