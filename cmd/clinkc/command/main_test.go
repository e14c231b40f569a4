package command_test

import (
	"os"
	"testing"

	"clink/internal/testgc"
)

func TestMain(m *testing.M) {
	testgc.Set()
	os.Exit(m.Run())
}
