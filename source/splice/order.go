package splice

import "strings"

// fieldOrder compares the names of fields as people write them: where to, who
// comes, what for, and then the rest as the schema has it. in is the field of
// the link that they stand in, "" for the link itself.
func fieldOrder(in, a, b string) int {
	names := linkFields
	switch in {
	case "ssl":
		names = sslFields
	case "tcp_opts":
		names = tcpFields
	case "resource_opts":
		names = resourceFields
	case "queue":
		names = queueFields
	}
	return rank(names, a) - rank(names, b)
}

const (
	linkFields = " server clientid username password topics" +
		" enable ssl pool_size retry_interval max_inflight tcp_opts resource_opts password_hash export inbound queue retained "
	sslFields = " enable verify cacertfile certfile keyfile password server_name_indication depth versions ciphers" +
		" reuse_sessions secure_renegotiate middlebox_comp_mode hibernate_after log_level partial_chain verify_peer_ext_key_usage "
	tcpFields      = " active_n nodelay sndbuf recbuf buffer keepalive delay_send "
	resourceFields = " worker_pool_size dispatch_strategy health_check_interval health_check_interval_jitter" +
		" health_check_timeout start_timeout request_ttl inflight_window max_buffer_bytes "
	queueFields = " when_full max_bytes max_age sync "
)

func rank(names, name string) int {
	if i := strings.Index(names, " "+name+" "); i >= 0 {
		return i
	}
	return len(names)
}

// within is the order of the fields that stand in what a path names.
func within(path []string) func(a, b string) int {
	in := ""
	if len(path) > 0 {
		in = path[len(path)-1]
	}
	return func(a, b string) int { return fieldOrder(in, a, b) }
}
