#Requires -Version 7.2
#Requires -Modules Microsoft.Graph.Authentication, Microsoft.Graph.Applications, ExchangeOnlineManagement
<#
.SYNOPSIS
Sets a Microsoft 365 tenant up for mfdrelay: app, credential, permission, mailbox switch, HVE account or connector.

.DESCRIPTION
What is there already stays; run it again after a failure, or for another mailbox. -WhatIf shows what it would do and changes
nothing; -Undo takes back what it made, but leaves mailboxes, HVE accounts and their switches alone. It writes upstreams.conf,
the block for mfdrelay.conf, and client-secret, which belongs into a file that only the relay can read.

You need the roles Application Administrator (with -Permission Classic, or Hve: Privileged Role Administrator) and Exchange
Administrator. The same by hand, with the reasons: mfdrelay-microsoft365(7).

.EXAMPLE
./Setup-Mfdrelay.ps1 -Method Submission -Mailbox scanner@contoso.com -WhatIf
.EXAMPLE
./Setup-Mfdrelay.ps1 -Method Hve -Mailbox hve-scan@contoso.com -CertificateFile ./mfdrelay.cer
.EXAMPLE
./Setup-Mfdrelay.ps1 -Method Connector -ConnectorCertificateName relay.contoso.com -Domain contoso.com
#>
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory)] [ValidateSet('Submission', 'Hve', 'Connector')] [string] $Method,
    [string] $Mailbox,
    # Rbac: Exchange gives the app this one mailbox. Classic: the permission SMTP.SendAsApp, and rights on the mailbox.
    [ValidateSet('Rbac', 'Classic')] [string] $Permission = 'Rbac',
    [string] $AppName = 'mfdrelay',
    # DER or PEM, without the key; then no secret is made.
    [string] $CertificateFile,
    [ValidateRange(1, 24)] [int] $SecretMonths = 12,
    # A connector knows the relay by the name in its certificate, or by its public addresses.
    [string] $ConnectorCertificateName,
    [string[]] $ConnectorAddress,
    # The domain whose mail hosts a connector is reached by.
    [string] $Domain,
    [string] $OutDirectory = '.',
    [switch] $Undo
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$Cmdlet = $PSCmdlet
$Exchange = '00000002-0000-0ff1-ce00-000000000000'   # Office 365 Exchange Online, in every tenant
$GroupName = "$AppName-senders"
$ScopeName = "$AppName-scope"
$RoleName = "$AppName-smtp"

# What -WhatIf has in the place of an object's id that is not made yet. Microsoft is not asked about it: it would refuse.
$NotYet = '(new)'

# What $Find finds, or else what $Make makes. With -WhatIf and nothing there: $Instead. Nothing is there of an $Of that is not.
function Get-OrMake([string] $What, [scriptblock] $Find, [scriptblock] $Make, $Instead = $true, $Of = $null) {
    $found = if ($Of -and $Of.Id -eq $NotYet) { $null } else { & $Find }
    if ($found) { Write-Host "is there   $What"; return $found }
    if (-not $Cmdlet.ShouldProcess($What, 'make')) { return $Instead }
    $made = & $Make
    Write-Host "made       $What"
    if ($made) { return $made }
    return $true
}

function Remove-IfThere([string] $What, [scriptblock] $Find, [scriptblock] $Remove) {
    if (-not (& $Find)) { Write-Host "not there  $What"; return }
    if (-not $Cmdlet.ShouldProcess($What, 'remove')) { return }
    & $Remove | Out-Null
    Write-Host "removed    $What"
}

function Get-App { Get-MgApplication -Filter "displayName eq '$AppName'" | Select-Object -First 1 }
function Get-Principal($App) { Get-MgServicePrincipal -Filter "appId eq '$($App.AppId)'" | Select-Object -First 1 }

# --- Entra: app registration, enterprise application, credential, permission ---

function Add-Certificate($App) {
    $certificate = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new((Resolve-Path $CertificateFile).Path)
    $label = "mfdrelay $($certificate.Thumbprint)"
    $null = Get-OrMake "certificate $($certificate.Thumbprint)" `
        { $App.KeyCredentials | Where-Object DisplayName -eq $label } `
        {
            $new = @{ type = 'AsymmetricX509Cert'; usage = 'Verify'; key = $certificate.RawData; displayName = $label }
            Update-MgApplication -ApplicationId $App.Id -KeyCredentials (@($App.KeyCredentials) + $new)
        }
}

# A secret is shown once: where one lives, it is not replaced; remove it in the portal to have another made.
function Add-Secret($App) {
    $null = Get-OrMake "client secret for $SecretMonths months" `
        { $App.PasswordCredentials | Where-Object { $_.DisplayName -eq 'mfdrelay' -and $_.EndDateTime -gt (Get-Date) } } `
        {
            $wanted = @{ displayName = 'mfdrelay'; endDateTime = (Get-Date).AddMonths($SecretMonths) }
            $secret = Add-MgApplicationPassword -ApplicationId $App.Id -PasswordCredential $wanted
            $file = Join-Path $OutDirectory 'client-secret'
            Set-Content -Path $file -Value $secret.SecretText -NoNewline
            if (-not $IsWindows) { chmod 600 $file }
            Write-Host "           in $file; it ends on $($secret.EndDateTime): note that"
        }
}

# An application permission of Exchange Online, with the tenant's consent.
function Grant-Permission($Principal, [string] $Role) {
    $resource = Get-MgServicePrincipal -Filter "appId eq '$Exchange'" | Select-Object -First 1
    $roleId = ($resource.AppRoles | Where-Object Value -eq $Role).Id
    $null = Get-OrMake "permission $Role" `
        { Get-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $Principal.Id | Where-Object AppRoleId -eq $roleId } `
        {
            New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $Principal.Id -PrincipalId $Principal.Id `
                -ResourceId $resource.Id -AppRoleId $roleId
        } -Of $Principal
}

# --- Exchange ---

# By the object id of the ENTERPRISE application: with that of the app registration every login is refused with 535 5.7.3.
function Add-ExchangePrincipal($App, $Principal) {
    $null = Get-OrMake "service principal $($Principal.Id) in Exchange" `
        { Get-ServicePrincipal -Identity $Principal.Id -ErrorAction SilentlyContinue } `
        { New-ServicePrincipal -AppId $App.AppId -ObjectId $Principal.Id -DisplayName $AppName } -Of $Principal
}

function Add-Role($Principal) {
    $there = Get-DistributionGroup -Identity $GroupName -ErrorAction SilentlyContinue
    $group = Get-OrMake "group $GroupName" { $there } `
        { New-DistributionGroup -Name $GroupName -Type Security -Members $Mailbox } `
        ([pscustomobject] @{ DistinguishedName = "(of $GroupName)" })
    # One that was there may be of a run for another mailbox, and another admin's.
    if ($there) {
        $null = Get-OrMake "$Mailbox in group $GroupName" `
            {
                Get-DistributionGroupMember -Identity $GroupName -ResultSize Unlimited |
                    Where-Object PrimarySmtpAddress -eq $Mailbox
            } `
            { Add-DistributionGroupMember -Identity $GroupName -Member $Mailbox -BypassSecurityGroupManagerCheck }
    }
    $null = Get-OrMake "scope $ScopeName" `
        { Get-ManagementScope -Identity $ScopeName -ErrorAction SilentlyContinue } `
        { New-ManagementScope -Name $ScopeName -RecipientRestrictionFilter "MemberOfGroup -eq '$($group.DistinguishedName)'" }
    $null = Get-OrMake "role Application SMTP.SendAsApp on that scope" `
        { Get-ManagementRoleAssignment -Identity $RoleName -ErrorAction SilentlyContinue } `
        {
            New-ManagementRoleAssignment -Name $RoleName -Role 'Application SMTP.SendAsApp' -App $Principal.Id `
                -CustomResourceScope $ScopeName
        }
}

function Add-MailboxRight($Principal) {
    $null = Get-OrMake "FullAccess to $Mailbox" `
        { Get-MailboxPermission -Identity $Mailbox -User $Principal.Id -ErrorAction SilentlyContinue } `
        { Add-MailboxPermission -Identity $Mailbox -User $Principal.Id -AccessRights FullAccess } -Of $Principal
}

function Enable-SmtpAuth {
    $null = Get-OrMake "authenticated SMTP for $Mailbox" `
        { Get-CASMailbox -Identity $Mailbox | Where-Object SmtpClientAuthenticationDisabled -eq $false } `
        { Set-CASMailbox -Identity $Mailbox -SmtpClientAuthenticationDisabled $false }
}

function Add-HveAccount($Principal) {
    $null = Get-OrMake "HVE account $Mailbox" `
        { Get-MailUser -HVEAccount -ResultSize Unlimited | Where-Object PrimarySmtpAddress -eq $Mailbox } `
        {
            # Nobody signs in with it: the app's token is the credential.
            $password = ConvertTo-SecureString -AsPlainText -Force "$(New-Guid)aA1!"
            New-MailUser -HVEAccount -Name ($Mailbox.Split('@')[0]) -Password $password -PrimarySmtpAddress $Mailbox
        }
    if ($Cmdlet.ShouldProcess("$Mailbox for app $($Principal.Id)", 'Add-HVEAppAccess')) {
        Add-HVEAppAccess -Identity $Mailbox -AppIds $Principal.Id
        Write-Host "allowed    app $($Principal.Id) for $Mailbox"
    }
}

function Add-Connector {
    $known = if ($ConnectorCertificateName) { @{ TlsSenderCertificateName = $ConnectorCertificateName } }
    else { @{ SenderIPAddresses = $ConnectorAddress } }
    $null = Get-OrMake "inbound connector $AppName" `
        { Get-InboundConnector -Identity $AppName -ErrorAction SilentlyContinue } `
        { New-InboundConnector -Name $AppName -ConnectorType OnPremises -SenderDomains '*' -RequireTls $true @known }
}

# --- the whole ---

function Write-Block([string] $ClientId, [string] $Tenant) {
    $file = Join-Path $OutDirectory 'upstreams.conf'
    $kind = $Method.ToLowerInvariant()
    $credential = if ($CertificateFile) { 'certificate = "/etc/mfdrelay/app.crt"; key = "/etc/mfdrelay/app.key";' }
    else { 'client_secret = "file:/etc/mfdrelay/client-secret";' }
    $text = if ($Method -eq 'Connector') {
        $tls = if ($ConnectorCertificateName) { ' certificate = "/etc/mfdrelay/relay.crt"; key = "/etc/mfdrelay/relay.key";' }
        else { '' }
        "upstreams = (`n  { name = `"$kind`"; kind = `"$kind`"; domain = `"$Domain`";$tls }`n);"
    }
    else {
        "upstreams = (`n  { name = `"$kind`"; kind = `"$kind`"; mailbox = `"$Mailbox`";`n" +
        "    oauth = { tenant = `"$Tenant`"; client_id = `"$ClientId`";`n              $credential }; }`n);"
    }
    if ($Cmdlet.ShouldProcess($file, 'write')) {
        Set-Content -Path $file -Value $text
        Write-Host "written    $file; then, on the relay: mfdrelay check --online"
    }
}

function Install-App {
    $app = Get-OrMake "app registration $AppName" { Get-App } `
        { New-MgApplication -DisplayName $AppName -SignInAudience AzureADMyOrg } `
        ([pscustomobject] @{ Id = $NotYet; AppId = $NotYet; KeyCredentials = @(); PasswordCredentials = @() })
    $principal = Get-OrMake "enterprise application $AppName" { Get-Principal $app } `
        { New-MgServicePrincipal -AppId $app.AppId } ([pscustomobject] @{ Id = $NotYet }) -Of $app
    if ($CertificateFile) { Add-Certificate $app } else { Add-Secret $app }
    if ($Method -eq 'Hve') {
        Grant-Permission $principal 'Mail.Send'
        Add-HveAccount $principal
    }
    else {
        Add-ExchangePrincipal $app $principal
        Enable-SmtpAuth
        if ($Permission -eq 'Rbac') { Add-Role $principal }
        else { Grant-Permission $principal 'SMTP.SendAsApp'; Add-MailboxRight $principal }
        Write-Host 'New rights can take two hours to reach every server.'
    }
    Write-Block $app.AppId (Get-MgContext).TenantId
}

function Uninstall-App {
    $app = Get-App
    $principal = if ($app) { Get-Principal $app }
    Remove-IfThere "role $RoleName" { Get-ManagementRoleAssignment -Identity $RoleName -ErrorAction SilentlyContinue } `
        { Remove-ManagementRoleAssignment -Identity $RoleName -Confirm:$false }
    Remove-IfThere "scope $ScopeName" { Get-ManagementScope -Identity $ScopeName -ErrorAction SilentlyContinue } `
        { Remove-ManagementScope -Identity $ScopeName -Confirm:$false }
    Remove-IfThere "group $GroupName" { Get-DistributionGroup -Identity $GroupName -ErrorAction SilentlyContinue } `
        { Remove-DistributionGroup -Identity $GroupName -Confirm:$false }
    if ($principal -and $Mailbox -and $Method -eq 'Submission') {
        Remove-IfThere "FullAccess to $Mailbox" `
            { Get-MailboxPermission -Identity $Mailbox -User $principal.Id -ErrorAction SilentlyContinue } `
            { Remove-MailboxPermission -Identity $Mailbox -User $principal.Id -AccessRights FullAccess -Confirm:$false }
    }
    if ($principal) {
        Remove-IfThere 'service principal in Exchange' `
            { Get-ServicePrincipal -Identity $principal.Id -ErrorAction SilentlyContinue } `
            { Remove-ServicePrincipal -Identity $principal.Id -Confirm:$false }
    }
    # Its enterprise application, credentials and permissions go with it.
    Remove-IfThere "app registration $AppName" { $app } { Remove-MgApplication -ApplicationId $app.Id }
}

if (-not $Undo -and $Method -ne 'Connector' -and -not $Mailbox) { throw 'Give -Mailbox: the address the relay sends as.' }
if (-not $Undo -and $Method -eq 'Connector' -and (-not $Domain -or -not ($ConnectorCertificateName -or $ConnectorAddress))) {
    throw 'A connector needs -Domain, and -ConnectorCertificateName or -ConnectorAddress.'
}
Connect-ExchangeOnline -ShowBanner:$false
if ($Method -eq 'Connector') {
    if ($Undo) {
        Remove-IfThere "inbound connector $AppName" { Get-InboundConnector -Identity $AppName -ErrorAction SilentlyContinue } `
            { Remove-InboundConnector -Identity $AppName -Confirm:$false }
    }
    else { Add-Connector; Write-Block '' '' }
}
else {
    Connect-MgGraph -NoWelcome -Scopes 'Application.ReadWrite.All', 'AppRoleAssignment.ReadWrite.All'
    if ($Undo) { Uninstall-App } else { Install-App }
}
