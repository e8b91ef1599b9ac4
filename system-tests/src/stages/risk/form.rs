//! Form and roles.

use optivex_proto::v1::{
    ErrorReason, GetInstrumentRiskLimitsRequest, GetRiskUsageRequest, GetUserRiskLimitsRequest, InstrumentRiskLimits,
    RollingWindowLimit, SetInstrumentRiskLimitsRequest, SetUserRiskLimitsRequest, UserRiskLimits,
};

use crate::context::Context;
use crate::verdict::Verdict;

/// Catches: negative limits and windows out of range taken; unknown users and instruments given limits.
pub(super) async fn fields(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let username = alice.username().to_owned();
    let none = InstrumentRiskLimits::default();
    let window = |limit, window_in_seconds| {
        Some(RollingWindowLimit {
            limit,
            window_in_seconds,
        })
    };
    let set = |limits| SetInstrumentRiskLimitsRequest {
        username: username.clone(),
        symbol: acme.clone(),
        limits: Some(limits),
    };
    for limits in [
        InstrumentRiskLimits {
            max_outstanding_quantity: Some(-1),
            ..none
        },
        InstrumentRiskLimits {
            max_outstanding_amount_e4: Some(-1),
            ..none
        },
        InstrumentRiskLimits {
            max_order_quantity: Some(-1),
            ..none
        },
        InstrumentRiskLimits {
            max_position: Some(-1),
            ..none
        },
        InstrumentRiskLimits {
            order_quantity_rolling_limit: window(-1, 1),
            ..none
        },
        InstrumentRiskLimits {
            order_quantity_rolling_limit: window(1, 0),
            ..none
        },
        InstrumentRiskLimits {
            order_amount_rolling_limit: window(1, 86_401),
            ..none
        },
    ] {
        admin
            .try_set_instrument_limits(set(limits))
            .await
            .refused(ErrorReason::InvalidField, &[])?;
    }
    let set_user = |username: &str, limits| SetUserRiskLimitsRequest {
        username: username.to_owned(),
        limits: Some(limits),
    };
    let none_of_user = UserRiskLimits::default();
    for limits in [
        UserRiskLimits {
            max_outstanding_quantity: Some(-1),
            ..none_of_user
        },
        UserRiskLimits {
            max_outstanding_amount_e4: Some(i64::MIN),
            ..none_of_user
        },
        UserRiskLimits {
            message_rate_rolling_limit: window(-1, 60),
            ..none_of_user
        },
        UserRiskLimits {
            message_rate_rolling_limit: window(1, -1),
            ..none_of_user
        },
    ] {
        admin
            .try_set_user_limits(set_user(&username, limits))
            .await
            .refused(ErrorReason::InvalidField, &[])?;
    }
    let nobody = context.unique();
    admin
        .try_set_user_limits(set_user(&nobody, none_of_user))
        .await
        .refused(ErrorReason::UnknownUser, &[])?;
    let unknown = SetInstrumentRiskLimitsRequest {
        symbol: context.unique(),
        ..set(none)
    };
    admin
        .try_set_instrument_limits(unknown)
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    admin
        .set_instrument_limits(set(InstrumentRiskLimits {
            max_position: Some(0),
            order_quantity_rolling_limit: window(0, 86_400),
            order_amount_rolling_limit: window(i64::MAX, 1),
            ..none
        }))
        .await?;
    Ok(())
}

/// Catches: traders that set or read limits of others; traders kept from their own.
pub(super) async fn roles(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let viewer = context.viewer().await?;
    let (own, other) = (alice.username().to_owned(), bob.username().to_owned());
    let admin_only = [("role", "ROLE_ADMIN")];
    for username in [own.clone(), other.clone()] {
        alice
            .try_set_user_limits(SetUserRiskLimitsRequest {
                username: username.clone(),
                limits: Some(UserRiskLimits::default()),
            })
            .await
            .refused(ErrorReason::MissingRole, &admin_only)?;
        alice
            .try_set_instrument_limits(SetInstrumentRiskLimitsRequest {
                username,
                symbol: acme.clone(),
                limits: Some(InstrumentRiskLimits::default()),
            })
            .await
            .refused(ErrorReason::MissingRole, &admin_only)?;
    }
    let of = |username: &str| username.to_owned();
    alice
        .try_user_limits(GetUserRiskLimitsRequest { username: of(&other) })
        .await
        .refused(ErrorReason::MissingRole, &admin_only)?;
    alice
        .try_instrument_limits(GetInstrumentRiskLimitsRequest { username: of(&other) })
        .await
        .refused(ErrorReason::MissingRole, &admin_only)?;
    alice
        .try_usage(GetRiskUsageRequest { username: of(&other) })
        .await
        .refused(ErrorReason::MissingRole, &admin_only)?;
    viewer
        .try_user_limits(GetUserRiskLimitsRequest::default())
        .await
        .refused(ErrorReason::MissingRole, &[])?;
    for username in [own, String::new()] {
        alice
            .user_limits(GetUserRiskLimitsRequest {
                username: of(&username),
            })
            .await?;
        alice
            .instrument_limits(GetInstrumentRiskLimitsRequest {
                username: of(&username),
            })
            .await?;
        alice
            .usage(GetRiskUsageRequest {
                username: of(&username),
            })
            .await?;
    }
    let admin = context.admin().await?;
    admin.usage(GetRiskUsageRequest { username: other }).await?;
    Ok(())
}
