package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A tally counts by reason.
type tally struct {
	mu sync.Mutex
	m  map[string]uint64
}

func (t *tally) add(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[string]uint64)
	}
	t.m[reason]++
}

func (t *tally) all() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.m)
}

// linesPerSecond is how many lines of a kind are logged; in a storm the rest
// is counted only.
const linesPerSecond = 20

// A damper keeps a kind of line from flooding the log.
type damper struct {
	mu      sync.Mutex
	second  time.Time
	lines   int
	skipped int
}

// log logs a line, or counts it; the next one says how many are missing.
func (d *damper) log(l *slog.Logger, level slog.Level, msg string, args ...any) {
	d.mu.Lock()
	if now := time.Now(); now.Sub(d.second) >= time.Second {
		d.second, d.lines = now, 0
	}
	d.lines++
	if d.lines > linesPerSecond {
		d.skipped++
		d.mu.Unlock()
		return
	}
	skipped := d.skipped
	d.skipped = 0
	d.mu.Unlock()
	if skipped > 0 {
		args = append(args, "not_logged", skipped)
	}
	l.Log(context.Background(), level, msg, args...)
}

// The reasons for which connections end or are refused, as counted.
var codeReasons = map[byte]string{
	packets.ErrMalformedPacket.Code:                "malformed_packet",
	packets.ErrUnsupportedProtocolVersion.Code:     "protocol_version",
	packets.ErrBadUsernameOrPassword.Code:          "bad_credentials",
	packets.ErrBadAuthenticationMethod.Code:        "bad_credentials",
	packets.ErrNotAuthorized.Code:                  "not_authorized",
	packets.ErrClientIdentifierNotValid.Code:       "clientid_invalid",
	packets.ErrTopicNameInvalid.Code:               "topic_invalid",
	packets.ErrServerBusy.Code:                     "busy",
	packets.ErrServerShuttingDown.Code:             "shutting_down",
	packets.ErrQuotaExceeded.Code:                  "quota_exceeded",
	packets.ErrSessionTakenOver.Code:               "taken_over",
	packets.ErrAdministrativeAction.Code:           "access_changed",
	packets.ErrPacketTooLarge.Code:                 "packet_too_large",
	packets.ErrKeepAliveTimeout.Code:               "keep_alive",
	packets.ErrReceiveMaximum.Code:                 "receive_maximum",
	packets.ErrImplementationSpecificError.Code:    "protocol_error",
	packets.ErrProtocolViolationSecondConnect.Code: "protocol_error",
	packets.CodeDisconnectWillMessage.Code:         "client",
}

// end says why c's connection ended, given what its reader ended with.
func (c *client) end(err error) string {
	var code packets.Code
	switch known := codeReasons[byte(c.cause.Load())]; {
	case c.slow.Load():
		return "slow_consumer"
	case known != "":
		return known
	case c.bye || err == nil:
		return "client"
	case errors.As(err, &code):
		if known := codeReasons[code.Code]; known != "" {
			return known
		}
		return "protocol_error"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "keep_alive"
	}
	return "connection_lost"
}

// farewell counts and logs the end of a connection.
func (n *Node) farewell(c *client, err error) {
	reason := c.end(err)
	n.ends.add(reason)
	level := slog.LevelDebug
	switch reason {
	case "protocol_error", "malformed_packet", "receive_maximum", "packet_too_large", "keep_alive":
		level = slog.LevelInfo
	case "slow_consumer":
		level = slog.LevelWarn
	}
	args := []any{"clientid", c.id, "username", c.username, "remote", c.peer.String(), "listener", c.listener, "reason", reason}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		args = append(args, "error", err.Error())
	}
	n.damped[1].log(n.log, level, "client disconnected", args...)
}

// turnedAway counts and logs a CONNECT that was refused.
func (n *Node) turnedAway(c *client, r *refusal) {
	reason := codeReasons[r.code.Code]
	if reason == "" {
		reason = "protocol_error"
	}
	n.refusals.add(reason)
	n.damped[0].log(n.log, slog.LevelInfo, "connect refused", "clientid", clip(c.id), "username", clip(c.username), "remote", c.peer.String(),
		"listener", c.listener, "reason", r.reason)
}

// clip shortens what somebody unknown has sent.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
