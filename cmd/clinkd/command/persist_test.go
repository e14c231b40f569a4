package command_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mosquitto runs one of Debian's MQTT clients.
func mosquitto(t *testing.T, name, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}

// A client that went away gets its messages in order, retained ones too, from
// a clinkd that was killed and started again meanwhile.
func TestQueueOutlivesKill(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: Debian's mosquitto-clients has it", err)
		}
	}
	bin, dir, data := build(t), copyExample(t, "two-sites"), t.TempDir()
	a := spawn(t, bin, dir, data, "site-a")
	port := a.port("site-a")
	mosquitto(t, "mosquitto_sub", "", "-p", port, "-c", "-i", "x", "-q", "1", "-t", "queue/#", "-E")
	var want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&want, "message %d\n", i)
	}
	mosquitto(t, "mosquitto_pub", want.String(), "-p", port, "-q", "1", "-t", "queue/x", "-l")
	mosquitto(t, "mosquitto_pub", "", "-p", port, "-q", "1", "-r", "-t", "state/x", "-m", "on")
	a.kill()

	a = spawn(t, bin, dir, data, "site-a")
	port = a.port("site-a")
	got := mosquitto(t, "mosquitto_sub", "", "-p", port, "-c", "-i", "x", "-q", "1", "-t", "queue/#", "-C", "100", "-W", "20")
	if got != want.String() {
		t.Errorf("got %q, want 100 messages in order", got)
	}
	if got := mosquitto(t, "mosquitto_sub", "", "-p", port, "-t", "state/#", "-C", "1", "-W", "20"); got != "on\n" {
		t.Errorf("retained: %q", got)
	}
	if found, _ := filepath.Glob(filepath.Join(data, "site-a", "store", "*", "base")); len(found) != 1 {
		t.Errorf("the store's base: %q", found)
	}
}
