package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"clink/topic"
	"clink/topology"
)

const (
	maxProbePayload = 512 << 10
	maxTraceTimeout = 30 * time.Second
)

// A traced is what a trace is asked for.
type traced struct {
	topic, from, to string
	apis            names
	key, ca         string
	payload         string
	format, qos     choice
	deliver         bool
	timeout         time.Duration
}

// trace has a running clinkd follow a probe message, and tells how far it came.
// It succeeds if somebody gets it, or would, and no peer that asks for it is
// missing; with --to, if somebody at that site does.
func (c Command) trace(ctx context.Context, s subcommand, args []string) error {
	t := traced{format: choice{"text", []string{"text", "json"}}, qos: choice{"1", []string{"0", "1", "2"}}}
	flags := newFlags()
	flags.StringVar(&t.topic, "topic", "", "`NAME` topic that the probe is published to")
	flags.StringVar(&t.from, "from", "", "`SITE` where it is published; may be left out if the clinkd runs one site")
	flags.StringVar(&t.to, "to", "", "`SITE` succeed only if somebody there gets it")
	flags.Var(&t.qos, "qos", "`QOS` of the probe: 0, 1 or 2")
	flags.BoolVar(&t.deliver, "deliver", false, "deliver the probe to subscribers, and send it to peers that are no clink nodes")
	flags.StringVar(&t.payload, "payload-file", "", "`FILE` payload of the probe")
	flags.Var(&t.apis, "api", "`SITE=URL` where the clinkd of SITE answers, or URL alone; may be repeated (default "+defaultAPI+")")
	flags.StringVar(&t.key, "api-key", "", "`FILE` with the API key, one line key:secret; may be left out if one clinkd keeps its data where it does by default")
	flags.StringVar(&t.ca, "api-ca", "", "`FILE` with the certificates to trust at an https address, beside the system's")
	flags.Var(&t.format, "format", "`FORM` form of the output: text or json")
	flags.DurationVar(&t.timeout, "timeout", 5*time.Second, "`TIME` to wait for the answers of peers, at most 30s")
	if _, err := c.parse(s, flags, args, 0); err != nil {
		return helped(err)
	}
	if err := t.check(); err != nil {
		return usageError{err, s.help(flags)}
	}
	body, err := c.traceBody(t)
	if err != nil {
		return err
	}
	api, err := c.apiOf(t)
	if err != nil {
		return err
	}
	if t.from == "" {
		if t.from, err = api.onlySite(ctx); err != nil {
			return err
		}
	}
	var out topology.Trace
	if err := api.post(ctx, "/sites/"+api.escaped(t.from)+"/trace", body, &out); err != nil {
		return err
	}
	return c.tellTrace(t, out)
}

// check says what is wrong with the flags.
func (t *traced) check() error {
	if t.topic == "" {
		return errors.New("--topic says which topic the probe is published to")
	}
	if err := topic.ValidName(t.topic); err != nil {
		return fmt.Errorf("--topic: %w", err)
	}
	for _, prefix := range []string{"$LINK", "$SYS"} {
		if t.topic == prefix || strings.HasPrefix(t.topic, prefix+"/") {
			return fmt.Errorf("--topic: no client may publish under %s/", prefix)
		}
	}
	if t.timeout <= 0 || t.timeout > maxTraceTimeout {
		return fmt.Errorf("--timeout: it is more than 0s and at most %v", maxTraceTimeout)
	}
	return nil
}

func (c Command) traceBody(t traced) ([]byte, error) {
	qos, _ := strconv.Atoi(t.qos.value) // one of three
	body := map[string]any{"topic": t.topic, "qos": qos, "deliver": t.deliver, "timeout": t.timeout.String()}
	if t.payload != "" {
		text, err := os.ReadFile(c.path(t.payload))
		if err != nil {
			return nil, fmt.Errorf("--payload-file: %w", err)
		}
		if len(text) > maxProbePayload {
			return nil, fmt.Errorf("--payload-file: %s has %d bytes, a probe has at most %d", t.payload, len(text), maxProbePayload)
		}
		body["payload"] = string(text)
	}
	return json.Marshal(body)
}

// tellTrace prints a trace, and returns errFindings if it did not succeed.
func (c Command) tellTrace(t traced, out topology.Trace) error {
	ok := succeeded(t.to, out)
	var text string
	if t.format.value == "json" {
		b, err := json.MarshalIndent(struct {
			OK        bool `json:"ok"`
			Receivers int  `json:"receivers"`
			topology.Trace
		}{ok, receivers(out), out}, "", "  ")
		if err != nil {
			return err
		}
		text = string(b) + "\n"
	} else {
		text = traceText(t.to, out, ok)
	}
	if err := c.print(text); err != nil || ok {
		return err
	}
	return errFindings
}

func receivers(out topology.Trace) int {
	n := out.Site.Receivers()
	for _, h := range out.Links {
		if h.Site != nil && h.Reason == "" {
			n += h.Site.Receivers()
		}
	}
	return n
}

// taken reports whether a peer that says no more than that it took the probe had
// somebody to deliver it to.
func taken(h topology.TracedHop) bool {
	return h.State == topology.TraceAcked && h.Reason == "" && h.Code != nil && *h.Code == 0
}

// missing reports whether a peer asks for the probe and has not got it.
func missing(h topology.TracedHop) bool {
	switch {
	case len(h.Routes) == 0, h.Reason == "not-exported", h.Reason == "not-clink":
		return false
	}
	return h.Reason != ""
}

func succeeded(to string, out topology.Trace) bool {
	if to == "" || to == out.Site.Name {
		anybody := receivers(out) > 0 || slices.ContainsFunc(out.Links, taken)
		if to != "" {
			return out.Site.Receivers() > 0
		}
		return anybody && !slices.ContainsFunc(out.Links, missing)
	}
	return slices.ContainsFunc(out.Links, func(h topology.TracedHop) bool {
		return h.Peer == to && (taken(h) || h.Site != nil && h.Reason == "" && h.Site.Receivers() > 0)
	})
}

func traceText(to string, out topology.Trace, ok bool) string {
	var b strings.Builder
	how := "not delivered"
	if out.Deliver {
		how = "delivered"
	}
	fmt.Fprintf(&b, "probe to %s at QoS %d, %s\n\n%s: %s\n", out.Topic, out.QoS, how, out.Site.Name, audience(out.Site))
	for _, h := range out.Links {
		hopText(&b, h)
	}
	b.WriteString("\n" + verdict(to, out, ok) + "\n")
	return b.String()
}

func hopText(b *strings.Builder, h topology.TracedHop) {
	state := h.State
	if state == topology.TraceWithheld {
		state = "not sent"
	}
	fmt.Fprintf(b, "  -> %s: %s", h.Peer, state)
	if h.Reason != "" {
		fmt.Fprintf(b, ", %s: %s", h.Reason, h.Detail)
	}
	b.WriteByte('\n')
	if len(h.Routes) > 0 {
		fmt.Fprintf(b, "     announced: %s\n", strings.Join(h.Routes, " "))
	}
	if times := timesText(h); times != "" {
		fmt.Fprintf(b, "     %s\n", times)
	}
	if h.Site != nil && h.Reason == "" {
		fmt.Fprintf(b, "     %s: %s\n", h.Site.Name, audience(*h.Site))
	}
}

func timesText(h topology.TracedHop) string {
	var l []string
	for _, at := range []struct {
		what string
		ms   *float64
	}{{"queued", h.Queued}, {"sent", h.Sent}, {"acknowledged", h.Acked}, {"reported", h.Told}} {
		if at.ms == nil {
			continue
		}
		text := fmt.Sprintf("%s %.1fms", at.what, *at.ms)
		if at.what == "acknowledged" && h.Code != nil {
			text += codeText(*h.Code)
		}
		l = append(l, text)
	}
	return strings.Join(l, ", ")
}

// codeText says what a PUBACK's reason code means.
func codeText(code int) string {
	switch code {
	case 0x00:
		return " (0x00, somebody gets it)"
	case 0x10:
		return " (0x10, nobody gets it)"
	}
	return fmt.Sprintf(" (0x%02x)", code)
}

// audience is who gets a probe at a site, in words.
func audience(s topology.TracedSite) string {
	var l []string
	for _, n := range []struct {
		n    int
		noun string
	}{{s.Subscribers, "subscriber"}, {s.Sessions, "session without a connection"}, {s.Groups, "share group"}} {
		if n.n > 0 {
			l = append(l, several(n.n, n.noun))
		}
	}
	verb := "would get it"
	if s.Delivered {
		verb = "got it"
	}
	return cmp.Or(strings.Join(l, ", "), "nobody") + " " + verb
}

func several(n int, noun string) string {
	first, rest, _ := strings.Cut(noun, " ")
	if n != 1 && first == "share" {
		return fmt.Sprintf("%d share groups", n)
	}
	if n != 1 {
		first += "s"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", n, first, rest))
}

func verdict(to string, out topology.Trace, ok bool) string {
	i := slices.IndexFunc(out.Links, func(h topology.TracedHop) bool { return h.Peer == to })
	switch {
	case to != "" && to != out.Site.Name && i < 0:
		return fmt.Sprintf("no: %s has no link to %s, and what comes over a link is not passed on", out.Site.Name, to)
	case to != "" && ok:
		return "yes: it reaches " + to
	case to != "":
		return "no: nobody at " + to + " gets it"
	case ok:
		return fmt.Sprintf("ok: %s", several(receivers(out), "receiver"))
	}
	var l []string
	for _, h := range out.Links {
		if missing(h) {
			l = append(l, h.Peer)
		}
	}
	if len(l) > 0 {
		return "not ok: it did not reach " + strings.Join(l, ", ") + ", where somebody subscribes to it"
	}
	return "not ok: nobody gets it"
}
