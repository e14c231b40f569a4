package compiler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"clink/topic"
	"clink/topology"
)

// A deed is something that a client does and a rule of an ACL speaks of.
type deed struct {
	action         string // publish or subscribe
	topic          topic.Filter
	qos            int
	user, clientid string // "": of anybody
}

// deeds are what a peer's link does at its broker, as the Cluster Linking
// protocol has it: it announces routes (heartbeats at QoS 0), forwards
// messages, and listens for answers.
func deeds(from string, l topology.Link) []deed {
	all := []deed{
		{action: "publish", topic: topic.Filter("$LINK/cluster/route/" + from), qos: 1},
		{action: "publish", topic: topic.Filter("$LINK/cluster/route/" + from), qos: 0},
		{action: "publish", topic: topic.Filter("$LINK/cluster/msg/" + from), qos: 1},
		{action: "publish", topic: topic.Filter("$LINK/cluster/msg/" + from), qos: 0},
		{action: "subscribe", topic: topic.Filter("$LINK/cluster/resp/" + from + "/+"), qos: 1},
	}
	for i := range all {
		all[i].user, all[i].clientid = l.Username, l.ClientID
	}
	return all
}

// denied returns what the declared ACL of a broker that clink does not run
// keeps a peer's link from, "" for nothing. On clink's own nodes ACLs are for
// ordinary clients; a peer has what it needs by its grant.
func denied(broker *topology.Site, from string, l topology.Link) string {
	if broker.Target.Kind == topology.Embedded || !broker.Access.HasACL {
		return ""
	}
	for _, d := range deeds(from, l) {
		if i := decides(broker.Access.ACL, d); i < 0 || broker.Access.ACL[i].Permit == "deny" {
			text := d.action + " " + string(d.topic)
			if d.action == "publish" {
				text += fmt.Sprintf(" at QoS %d", d.qos)
			}
			return text
		}
	}
	return ""
}

// decides returns the first rule that applies to the deed, -1 for none.
func decides(rules []topology.Rule, d deed) int {
	return slices.IndexFunc(rules, func(r topology.Rule) bool { return applies(r, d) })
}

// applies reports whether a rule speaks of all of a deed. One that names a
// client id applies to the ids that begin with the link's prefix.
func applies(r topology.Rule, d deed) bool {
	switch {
	case r.Action != "all" && r.Action != d.action,
		r.User != "" && r.User != d.user,
		r.ClientID != "" && (d.clientid == "" || r.ClientID != d.clientid && !strings.HasPrefix(r.ClientID, d.clientid+":")),
		r.Retain != nil && *r.Retain,
		len(r.QoS) > 0 && !slices.Contains(r.QoS, d.qos):
		return false
	}
	return len(r.Topics) == 0 || slices.ContainsFunc(r.Topics, func(t string) bool {
		text := strings.NewReplacer("${clientid}", d.clientid, "${username}", d.user).Replace(t)
		return topic.Filter(text).Covers(d.topic)
	})
}

// opened returns the place of the first rule that lets everybody use control
// topics of links, "" if there is none. On clink's own nodes only one that
// names them can be meant so: there a rule for all topics never opens them.
func opened(s *topology.Site) string {
	control := []topic.Filter{"$LINK/cluster/route/+", "$LINK/cluster/msg/+", "$LINK/cluster/resp/+/+"}
	shut := map[topic.Filter]bool{}
	for i, r := range s.Access.ACL {
		if r.User != "" || r.ClientID != "" {
			continue
		}
		for _, c := range control {
			action := "publish"
			if strings.HasPrefix(string(c), "$LINK/cluster/resp/") {
				action = "subscribe"
			}
			if shut[c] || r.Action != "all" && r.Action != action || !reaches(r, c, s.Target.Kind) {
				continue
			}
			if r.Permit == "allow" {
				return strconv.Itoa(i)
			}
			shut[c] = applies(topology.Rule{Action: r.Action, Topics: r.Topics}, deed{action: action, topic: c}) && len(r.QoS) == 0 && r.Retain == nil
		}
	}
	return ""
}

// reaches reports whether a rule speaks of any topic under the filter.
func reaches(r topology.Rule, control topic.Filter, kind string) bool {
	if len(r.Topics) == 0 {
		return kind != topology.Embedded || r.Permit == "deny"
	}
	return slices.ContainsFunc(r.Topics, func(t string) bool {
		_, meet := topic.Intersect(topic.Filter(t), control)
		return meet
	})
}
