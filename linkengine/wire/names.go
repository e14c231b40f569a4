package wire

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
)

// Prefix is what the topics of all link traffic start with (section 1).
const Prefix = "$LINK/cluster/"

// Kind tells what a link topic carries.
type Kind byte

// The kinds of link topics (section 1).
const (
	Route Kind = iota + 1 // actor_init, route, heartbeat: from the importer
	Msg                   // forwarded messages: from the exporter
	Resp                  // actor_init_ack: the exporter's answer to an importer
)

const (
	routePrefix = Prefix + "route/"
	msgPrefix   = Prefix + "msg/"
	respPrefix  = Prefix + "resp/"
)

// RouteTopic is where the named cluster publishes its control payloads.
func RouteTopic(cluster string) string { return routePrefix + cluster }

// MsgTopic is where the named cluster publishes the messages that it forwards.
func MsgTopic(cluster string) string { return msgPrefix + cluster }

// RespTopic is where an actor of the named cluster gets its answers.
func RespTopic(cluster, actor string) string { return respPrefix + cluster + "/" + actor }

// ParseTopic takes a link topic apart. The cluster is everything behind the
// kind, slashes included (section 1), and the actor, for Resp only, what follows
// the last slash. Any other topic, and a link topic with an empty part, is not
// ok.
func ParseTopic(topic string) (kind Kind, cluster, actor string, ok bool) {
	if cluster, ok = strings.CutPrefix(topic, routePrefix); ok {
		return Route, cluster, "", cluster != ""
	}
	if cluster, ok = strings.CutPrefix(topic, msgPrefix); ok {
		return Msg, cluster, "", cluster != ""
	}
	rest, ok := strings.CutPrefix(topic, respPrefix)
	if !ok {
		return 0, "", "", false
	}
	slash := strings.LastIndexByte(rest, '/')
	if slash < 1 || slash == len(rest)-1 {
		return Resp, "", "", false
	}
	return Resp, rest[:slash], rest[slash+1:], true
}

// ShareID is the route id of the subscriptions of a share group to a filter;
// that of a plain subscription is the filter itself (section 4).
func ShareID(group, filter string) string { return "$s/" + group + "/" + filter }

// ClientID is the client id of a link connection (section 2): the prefix, the
// kind ("routesync", "msg"), the node as eight hexadecimal digits, and, where n
// is above zero, the number of the connection. Two nodes with one name and one
// prefix get the same ids and evict each other.
func ClientID(prefix, kind, node string, n int) string {
	sum := sha1.Sum([]byte(node))
	id := prefix + ":" + kind + ":" + hex.EncodeToString(sum[:4])
	if n > 0 {
		id += ":" + strconv.Itoa(n)
	}
	return id
}
