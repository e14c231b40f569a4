package broker

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"
)

// OnSysInfoTick is called when the engine has published its part of $SYS. What
// follows is what users of mosquitto and EMQX look for besides.
func (h *hook) OnSysInfoTick(info *system.Info) {
	n := h.n
	if n.stopping() {
		return
	}
	st := n.Stats()
	_, bytes := n.kept.totals()
	num := func(v int64) string { return strconv.FormatInt(v, 10) }
	dropped := int64(0)
	for _, d := range st.Dropped {
		dropped += int64(d)
	}
	emqx := "$SYS/brokers/" + n.sysName()
	for _, t := range [...]struct{ name, value string }{
		{"$SYS/broker/clients/active", num(int64(st.Clients))},
		{"$SYS/broker/clients/inactive", num(int64(st.Sessions))},
		{"$SYS/broker/bytes/received", num(info.BytesReceived)},
		{"$SYS/broker/bytes/sent", num(info.BytesSent)},
		{"$SYS/broker/publish/messages/received", num(int64(st.Received))},
		{"$SYS/broker/publish/messages/sent", num(int64(st.Sent))},
		{"$SYS/broker/publish/messages/dropped", num(dropped)},
		{"$SYS/broker/subscriptions/count", num(int64(st.Subscriptions))},
		{"$SYS/broker/retained messages/count", num(int64(st.Retained))},
		{"$SYS/broker/store/messages/bytes", num(bytes)},
		{"$SYS/broker/heap/current", num(info.MemoryAlloc)},
		{"$SYS/brokers", n.sysName()},
		{emqx + "/version", info.Version},
		{emqx + "/uptime", num(info.Uptime)},
		{emqx + "/datetime", time.Unix(info.Time, 0).UTC().Format(time.RFC3339)},
		{emqx + "/sysdescr", "clink on " + runtime.GOOS},
		{emqx + "/stats/connections/count", num(int64(st.Clients))},
		{emqx + "/stats/sessions/count", num(int64(st.Clients + st.Sessions))},
		{emqx + "/stats/subscriptions/count", num(int64(st.Subscriptions))},
		{emqx + "/stats/topics/count", num(int64(n.routes.Len()))},
		{emqx + "/stats/retained/count", num(int64(st.Retained))},
		{emqx + "/metrics/messages/received", num(int64(st.Received))},
		{emqx + "/metrics/messages/sent", num(int64(st.Sent))},
		{emqx + "/metrics/messages/dropped", num(dropped)},
	} {
		n.publishSys(t.name, t.value)
	}
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
