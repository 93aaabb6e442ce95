//! Configurations like those that people write: two nodes of a plain keepalived, Neutron's, sync groups, scripts,
//! definitions, both families, unicast, VMACs, virtual servers beside them.

/// All of them.
pub const TEXTS: &[&str] = &[
    "\
! Configuration File for keepalived

global_defs {
   notification_email {
     root@localhost
   }
   notification_email_from keepalived@localhost
   smtp_server 127.0.0.1
   smtp_connect_timeout 30
   router_id LVS_DEVEL
}

vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.0.2.16
        192.0.2.17/24 dev eth0 label eth0:1
        192.0.2.18/24 brd + dev eth1
    }
}
",
    "\
global_defs {
    notification_email_from neutron@openstack.local
    router_id neutron
    script_user root
    enable_script_security
}
vrrp_script ha_health_check_1 {
    script \"/bin/true\"
    interval 30
    fall 2
    rise 2
}

vrrp_instance VR_1 {
    state BACKUP
    interface eth0
    virtual_router_id 1
    priority 50
    garp_master_delay 60
    nopreempt
    advert_int 2
    track_interface {
        eth1
    }
    track_script {
        ha_health_check_1
    }
    virtual_ipaddress {
        169.254.0.1/24 dev eth0
    }
    virtual_ipaddress_excluded {
        10.0.0.1/24 dev eth1 no_track
        203.0.113.5/24 dev eth2 no_track
        fe80::f816:3eff:fe00:1/64 dev eth1 scope link no_track
    }
    virtual_routes {
        0.0.0.0/0 via 203.0.113.1 dev eth2 no_track protocol static
    }
}
",
    "\
vrrp_sync_group VG_1 {
    group {
        VI_1
        VI_2
    }
    notify_master \"/bin/true master\"
}
vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    virtual_router_id 10
    priority 100
    virtual_ipaddress { 10.0.0.10/24 }
    notify \"/bin/true a b\"
}
vrrp_instance VI_2 {
    interface eth1
    state BACKUP
    virtual_router_id 11
    priority 100
    virtual_ipaddress { 10.0.1.10/24
    10.0.1.11/24 }
    nopreempt
    preempt_delay 5
}
",
    "\
$NET=10.9.8
$IF=eth1
$VIPS=\\
  virtual_ipaddress { \\
    ${NET}.200/24 \\
    ${NET}.201/24 dev $IF \\
  }
$COMMON=\\
  state BACKUP \\
  advert_int 0.5 \\
  version 3
@node1 $PRIO=150
@^node1 $PRIO=50
vrrp_instance $_INSTANCE {
  interface $IF
  virtual_router_id 12
  priority $PRIO
  $COMMON
  $VIPS
}
vrrp_instance B_${_INSTANCE} {
  interface eth0 # the other one
  virtual_router_id 13
  @node1 priority 20
  @node2 priority 30
  virtual_ipaddress {
    $NET.2
    ${NET}.3/24
  }
}
",
    "\
global_defs {
    vrrp_version 3
    vrrp_mcast_group4 224.0.0.99
    vrrp_garp_master_refresh 60
    dynamic_interfaces
}
vrrp_instance six {
    interface eth0
    virtual_router_id 9
    native_ipv6
    advert_int 0.03
    virtual_ipaddress {
        fe80::10/64
        2001:db8::1/64 dev eth1
    }
    virtual_ipaddress_excluded {
        10.1.0.9/24 dev eth1
    }
}
vrrp_instance four {
    interface eth0
    virtual_router_id 9
    version 2
    advert_int 3
    virtual_ipaddress {
        198.51.100.1/28 scope link
    }
}
",
    "\
vrrp_instance uni {
    interface eth0
    virtual_router_id 44
    priority 90
    unicast_src_ip 192.0.2.1
    unicast_ttl 200
    unicast_peer {
        192.0.2.2
        192.0.2.3 min_ttl 200
    }
    virtual_ipaddress {
        192.0.2.100/32 dev eth1
    }
    track_interface {
        eth1 weight 5
        eth2
    }
    dont_track_primary
    notify_stop \"/bin/true stop\"
    smtp_alert
}
",
    "\
global_defs {
    vmac_prefix ext
}
vrrp_instance mac1 {
    interface eth0
    use_vmac
    virtual_router_id 21
    virtual_ipaddress {
        192.0.2.21/24
        192.0.2.22/24 dev eth1
    }
    virtual_ipaddress_excluded {
        192.0.2.23/24
        fe80::23/64
    }
}
vrrp_instance mac2 {
    interface eth1
    use_vmac vm2
    vmac_xmit_base
    virtual_router_id 22
    advert_int 5
    virtual_ipaddress {
        192.0.2.31/24 dev eth1
    }
}
",
    "\
vrrp_script chk {
    script \"/bin/true\"
    interval 2
    weight -20
}
vrrp_track_file tf {
    file /tmp/none
    weight 1
}
virtual_server 192.0.2.80 80 {
    delay_loop 6
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.0.2.81 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
        }
    }
}
vrrp_instance HAPROXY
{
    interface eth2
    state BACKUP
    virtual_router_id 255
    priority 101
    mcast_src_ip 192.0.2.9
    authentication
    {
        auth_type AH
        auth_pass secret
    }
    virtual_ipaddress
    {
        192.0.2.80/24 dev eth2
    }
    track_script
    {
        chk
    }
}
static_routes {
    203.0.113.0/24 via 192.0.2.254 dev eth0
}
",
    "\
vrrp_instance only_excluded {
    interface eth0
    virtual_router_id 5
    virtual_ipaddress_excluded {
        10.3.0.1/24
        10.3.0.2/24 dev eth2
    }
}
",
];
