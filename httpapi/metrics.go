package httpapi

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"clink/diagnostic"
	"clink/topology"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds how long one scrape may wait for the state of links.
const scrapeTimeout = 5 * time.Second

func (a *api) metrics() handler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{a})
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}) // a compressor takes 800 KB, more than the answer
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// A collector reads the store afresh at each scrape, so that no figure is kept
// twice.
type collector struct{ *api }

// Describe describes nothing: the series follow the links there are.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	e := emitter{out}
	e.gauge("clink_build_info", "The version of clink and of Go.", 1, labels{"version", c.Version, "goversion", runtime.Version()})
	e.state(c.store.State())
	for _, b := range c.store.Brokers() {
		e.broker(b)
	}
	for _, site := range c.store.Sites() {
		links, err := c.store.Links(ctx, site)
		if err != nil {
			c.Log.Error("collect metrics of links", "site", site, "err", err)
			continue
		}
		for _, l := range links {
			e.link(site, l.Observed)
		}
	}
}

// labels are names and values in turn.
type labels []string

type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) gauge(name, help string, v float64, l labels) {
	e.emit(prometheus.GaugeValue, name, help, v, l)
}

func (e emitter) counter(name, help string, v uint64, l labels) {
	e.emit(prometheus.CounterValue, name, help, float64(v), l)
}

func (e emitter) emit(kind prometheus.ValueType, name, help string, v float64, l labels) {
	var names, values []string
	for i := 0; i < len(l); i += 2 {
		names, values = append(names, l[i]), append(values, l[i+1])
	}
	e.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e emitter) state(s State) {
	seen := map[topology.Held]bool{}
	for _, h := range s.Held {
		key := topology.Held{Site: h.Site, Peer: h.Peer, Rule: h.Rule}
		if seen[key] {
			continue // two faults of one rule hold one link back once
		}
		seen[key] = true
		e.gauge("clinkd_held_back", "1 for each site or link kept at its last good state by a finding.", 1, labels{"site", h.Site, "peer", h.Peer, "rule", h.Rule})
	}
	e.gauge("clinkd_config_last_reload_successful", "Whether the last look at the source could be applied.", bit(s.ReloadOK), nil)
	if !s.LastReload.IsZero() {
		e.gauge("clinkd_config_last_reload_success_timestamp_seconds", "When the source was last applied.", float64(s.LastReload.UnixMilli())/1000, nil)
	}
	e.gauge("clinkd_config_info", "The revision of the source in force.", 1, labels{"revision", s.Revision, "commit", s.Commit})
	for _, sev := range []diagnostic.Severity{diagnostic.Error, diagnostic.Warning, diagnostic.Info} {
		e.gauge("clinkd_findings", "Findings in the source.", float64(s.Findings.Count(sev)), labels{"severity", sev.String()})
	}
	e.gauge("clinkd_reconcile_duration_seconds", "How long the last pass took.", s.ReloadTook.Seconds(), nil)
	for _, op := range []string{topology.Create, topology.Update, topology.Delete} {
		e.counter("clinkd_changes_applied_total", "Links created, updated and deleted.", s.Applied[op], labels{"op", op})
	}
}

func (e emitter) broker(b Broker) {
	site := labels{"site", b.Site}
	e.gauge("clink_broker_clients", "Connected clients.", float64(b.Clients), site)
	e.gauge("clink_broker_sessions", "Sessions, with and without a connection.", float64(b.Clients+b.Sessions), site)
	e.gauge("clink_broker_subscriptions", "Subscriptions of all sessions.", float64(b.Subscriptions), site)
	e.gauge("clink_broker_retained", "Retained messages.", float64(b.Retained), site)
	e.counter("clink_broker_messages_total", "Messages received from and sent to clients.", b.Received, append(site, "direction", "received"))
	e.counter("clink_broker_messages_total", "Messages received from and sent to clients.", b.Sent, append(site, "direction", "sent"))
	for reason, n := range b.DroppedBy {
		e.counter("clink_broker_dropped_total", "Messages dropped by the broker.", n, append(site, "reason", reason))
	}
	for reason, n := range b.RefusedBy {
		e.counter("clink_broker_connect_refused_total", "Connections that were not let in.", n, append(site, "reason", reason))
	}
	e.counter("clink_broker_connect_waited_total", "Connections that had to wait because of their listener's max_conn_rate.", b.ConnectWaited, site)
	e.counter("clink_broker_connect_damped_total", "Connects that were delayed or refused because passwords are being guessed.", b.ConnectDamped, site)
	for reason, n := range b.DisconnectedBy {
		e.counter("clink_broker_disconnected_total", "Connections of clients that ended.", n, append(site, "reason", reason))
	}
	e.gauge("clink_broker_store_up", "Whether sessions and retained messages outlive the process.", bit(b.StoreUp), site)
	e.gauge("clink_broker_store_bytes", "Size of the store's files.", float64(b.StoreBytes), site)
	e.counter("clink_broker_store_refused_total", "Records that the store had no room for.", b.StoreRefused, site)
}

// replicationStates are all values of the label state.
var replicationStates = [...]string{
	topology.ReplicationOnline, topology.ReplicationBootstrapping, topology.ReplicationHandshaking,
	topology.ReplicationRejected, topology.ReplicationDown,
}

func (e emitter) link(site string, s topology.LinkStatus) {
	with := func(more ...string) labels { return append(labels{"site", site, "peer", s.Peer}, more...) }
	m := s.Metrics
	e.gauge("clink_link_up", "Whether the forwarding connections stand and routes are replicated.",
		bit(s.State == topology.Connected && s.Replication.State == topology.ReplicationOnline), with())
	for _, state := range replicationStates {
		e.gauge("clink_link_replication_state", "1 for the state that route replication is in.", bit(state == s.Replication.State), with("state", state))
	}
	const routes = "Routes announced to the peer (own) and by the peer (peer)."
	e.gauge("clink_link_routes", routes, float64(s.Replication.OwnRoutes), with("direction", "own"))
	e.gauge("clink_link_routes", routes, float64(s.Replication.PeerRoutes), with("direction", "peer"))
	e.counter("clink_link_forwarded_total", "Messages the peer took.", m.Success, with())
	e.counter("clink_link_received_total", "Messages from the peer delivered here.", m.Received, with())
	for reason, n := range m.DroppedBy {
		e.counter("clink_link_dropped_total", "Messages that did not cross.", n, with("reason", reason))
	}
	const copies = "Retained messages sent because of new routes, and those that came so: stored, or no news."
	e.counter("clink_link_retained_total", copies, m.CopiesSent, with("op", "sent"))
	e.counter("clink_link_retained_total", copies, m.CopiesStored, with("op", "stored"))
	e.counter("clink_link_retained_total", copies, m.CopiesUnchanged, with("op", "unchanged"))
	e.counter("clink_link_retried_total", "Messages sent again.", m.Retried, with())
	e.gauge("clink_link_queue_bytes", "Bytes waiting for the peer.", float64(m.QueueBytes), with())
	e.gauge("clink_link_queue_messages", "Messages waiting for the peer.", float64(m.Queuing), with())
	e.gauge("clink_link_inflight", "Messages sent and not yet acknowledged.", float64(m.Inflight), with())
	e.counter("clink_link_reconnects_total", "Connections made anew.", m.Reconnects, with())
}
