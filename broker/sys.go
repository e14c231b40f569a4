package broker

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine would publish its part of $SYS itself, past the lock that keeps
// retained messages from being written while they are looked up. So the node
// publishes all of it, as messages of its own.

// keepSys publishes $SYS until ctx ends.
func (n *Node) keepSys(ctx context.Context) {
	t := time.NewTicker(n.opts.SysInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			n.publishFigures()
		}
	}
}

// publishFigures publishes $SYS once.
func (n *Node) publishFigures() {
	for _, f := range append(n.engineFigures(), n.figures()...) {
		if n.stopping() {
			return
		}
		n.publishSys(f.name, f.value)
	}
}

// A figure is a topic of $SYS.
type figure struct{ name, value string }

func decimal(v int64) string { return strconv.FormatInt(v, 10) }

// engineFigures are those that the engine has.
func (n *Node) engineFigures() []figure {
	info, st, now := n.server.Info.Clone(), n.Stats(), time.Now().Unix()
	total := n.server.Clients.Len()
	return []figure{
		{"$SYS/broker/version", info.Version},
		{"$SYS/broker/time", decimal(now)},
		{"$SYS/broker/uptime", decimal(now - info.Started)},
		{"$SYS/broker/started", decimal(info.Started)},
		{"$SYS/broker/load/bytes/received", decimal(info.BytesReceived)},
		{"$SYS/broker/load/bytes/sent", decimal(info.BytesSent)},
		{"$SYS/broker/clients/connected", decimal(info.ClientsConnected)},
		{"$SYS/broker/clients/disconnected", decimal(int64(total) - info.ClientsConnected)},
		{"$SYS/broker/clients/maximum", decimal(info.ClientsMaximum)},
		{"$SYS/broker/clients/total", decimal(int64(total))},
		{"$SYS/broker/packets/received", decimal(info.PacketsReceived)},
		{"$SYS/broker/packets/sent", decimal(info.PacketsSent)},
		{"$SYS/broker/messages/received", decimal(int64(st.Received + st.Injected))},
		{"$SYS/broker/messages/sent", decimal(info.MessagesSent)},
		{"$SYS/broker/messages/dropped", decimal(info.MessagesDropped)},
		{"$SYS/broker/messages/inflight", decimal(info.Inflight)},
		{"$SYS/broker/retained", decimal(int64(n.server.Topics.Retained.Len()))},
		{"$SYS/broker/subscriptions", decimal(info.Subscriptions)},
		{"$SYS/broker/system/memory", decimal(heapInUse())},
		{"$SYS/broker/system/threads", decimal(int64(runtime.NumGoroutine()))},
	}
}

// figures are those that users of mosquitto and EMQX look for besides.
func (n *Node) figures() []figure {
	info, st, now := n.server.Info.Clone(), n.Stats(), time.Now()
	_, bytes := n.kept.totals()
	dropped := int64(0)
	for _, d := range st.Dropped {
		dropped += int64(d)
	}
	emqx := "$SYS/brokers/" + n.sysName()
	return []figure{
		{"$SYS/broker/clients/active", decimal(int64(st.Clients))},
		{"$SYS/broker/clients/inactive", decimal(int64(st.Sessions))},
		{"$SYS/broker/bytes/received", decimal(info.BytesReceived)},
		{"$SYS/broker/bytes/sent", decimal(info.BytesSent)},
		{"$SYS/broker/publish/messages/received", decimal(int64(st.Received))},
		{"$SYS/broker/publish/messages/sent", decimal(int64(st.Sent))},
		{"$SYS/broker/publish/messages/dropped", decimal(dropped)},
		{"$SYS/broker/subscriptions/count", decimal(int64(st.Subscriptions))},
		{"$SYS/broker/retained messages/count", decimal(int64(st.Retained))},
		{"$SYS/broker/store/messages/bytes", decimal(bytes)},
		{"$SYS/broker/heap/current", decimal(heapInUse())},
		{"$SYS/brokers", n.sysName()},
		{emqx + "/version", info.Version},
		{emqx + "/uptime", decimal(now.Unix() - info.Started)},
		{emqx + "/datetime", now.UTC().Format(time.RFC3339)},
		{emqx + "/sysdescr", "clink on " + runtime.GOOS},
		{emqx + "/stats/connections/count", decimal(int64(st.Clients))},
		{emqx + "/stats/sessions/count", decimal(int64(st.Clients + st.Sessions))},
		{emqx + "/stats/subscriptions/count", decimal(int64(st.Subscriptions))},
		{emqx + "/stats/topics/count", decimal(int64(n.routes.Len()))},
		{emqx + "/stats/retained/count", decimal(int64(st.Retained))},
		{emqx + "/metrics/messages/received", decimal(int64(st.Received))},
		{emqx + "/metrics/messages/sent", decimal(int64(st.Sent))},
		{emqx + "/metrics/messages/dropped", decimal(dropped)},
	}
}

// heapInUse is what the heap takes, read without stopping the process.
func heapInUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(s)
	sum := int64(0)
	for i := range s {
		if s[i].Value.Kind() == metrics.KindUint64 {
			sum += int64(s[i].Value.Uint64())
		}
	}
	return sum
}

// sysName is the node's name in $SYS/brokers/<name>/.
func (n *Node) sysName() string {
	name := n.opts.Name
	if name == "" {
		host, _ := os.Hostname()
		name = "clink@" + host
	}
	return strings.NewReplacer("/", "_", "+", "_", "#", "_").Replace(name)
}

func (n *Node) publishSys(name, value string) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true},
		TopicName:   name, Payload: []byte(value),
	}
	_ = n.server.InjectPacket(n.local, pk)
}
