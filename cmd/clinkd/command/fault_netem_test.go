package command_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// inNetwork is set in a process that runs in a network of its own.
const inNetwork = "CLINKD_TEST_NETWORK"

// TestFaultNetwork is [TestFaultFarAway] on a real network that delays every
// packet by 150 ms each way, and loses one in fifty: a namespace whose loopback
// has Linux's netem. The road does the same where there is none.
func TestFaultNetwork(t *testing.T) {
	if os.Getenv(inNetwork) != "" {
		farAway(t, nil)
		return
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can make a network of its own")
	}
	const make = "ip link set lo up && tc qdisc add dev lo root netem delay 150ms loss 2%"
	if out, err := exec.Command("unshare", "--net", "sh", "-c", make).CombinedOutput(); err != nil {
		t.Skipf("no network of its own with delay and loss: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", make+` && exec "$0" -test.run '^TestFaultNetwork$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), inNetwork+"=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
